// SPDX-License-Identifier: Apache-2.0

// Command registry is a container registry in memory, over TLS, for tests.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:443", "where to listen")
	cert := flag.String("cert", "", "certificate file")
	key := flag.String("key", "", "key file")
	flag.Parse()
	s := &http.Server{Addr: *addr, Handler: registry.New(), ReadHeaderTimeout: time.Minute}
	log.Fatal(s.ListenAndServeTLS(*cert, *key))
}
