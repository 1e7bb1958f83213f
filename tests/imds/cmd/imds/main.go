// SPDX-License-Identifier: Apache-2.0

// Command imds serves a file as EC2 user data on the loopback, the way the
// instance metadata service does (IMDSv2), until it is told to stop. The demo
// uses it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"firstboot.dev/ignition/tests/imds"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "imds:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on; loopback only")
	userData := flag.String("user-data", "", "file with the user data; none answers 404")
	portFile := flag.String("port-file", "", "file to write the address to once it is open")
	limit := flag.Duration("for", 10*time.Minute, "how long to serve")
	flag.Parse()
	var o imds.Options
	if *userData != "" {
		raw, err := os.ReadFile(*userData)
		if err != nil {
			return err
		}
		o.UserData = raw
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return fmt.Errorf("%s is not a loopback address", l.Addr())
	}
	if *portFile != "" {
		if err := os.WriteFile(*portFile, []byte(l.Addr().String()+"\n"), 0o644); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	server := &http.Server{Handler: imds.New(o), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
