// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha512"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// server hands out the remote files: /small/N late, /big as fast as it can.
type server struct {
	url     string
	bigHash string
	sizes   sizes
	block   []byte
	http    *http.Server
}

func startServer(s sizes) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	v := &server{url: "http://" + listener.Addr().String(), sizes: s, block: make([]byte, 1<<20)}
	random := rand.NewChaCha8([32]byte{1})
	random.Read(v.block) // never fails
	hash := sha512.New()
	if err := v.writeBig(hash); err != nil {
		listener.Close()
		return nil, err
	}
	v.bigHash = hex.EncodeToString(hash.Sum(nil))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /small/{n}", v.small)
	mux.HandleFunc("GET /big", v.big)
	v.http = &http.Server{Handler: mux}
	go v.http.Serve(listener)
	return v, nil
}

func (v *server) close() { v.http.Close() }

func (v *server) small(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 0 || n >= v.sizes.remoteFiles {
		http.NotFound(w, r)
		return
	}
	select {
	case <-time.After(v.sizes.latency):
		w.Write(v.block[n : n+v.sizes.remoteBytes])
	case <-r.Context().Done():
	}
}

func (v *server) big(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", strconv.FormatInt(v.sizes.bigBytes, 10))
	// An error means that the client went away, and the client says so itself.
	_ = v.writeBig(w)
}

func (v *server) writeBig(w io.Writer) error {
	for left := v.sizes.bigBytes; left > 0; {
		n, err := w.Write(v.block[:min(left, int64(len(v.block)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}
