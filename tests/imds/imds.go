// SPDX-License-Identifier: Apache-2.0

// Package imds is a stand-in for the EC2 instance metadata service, for tests
// and for the demo. It speaks IMDSv2: requests without a valid session token
// are refused. Faults of the real service can be switched on.
package imds

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Options say what the service has and how it misbehaves.
type Options struct {
	UserData    []byte        // nil: 404
	Region      string        // in the identity document; "": no document
	Role        string        // name of the instance's role; "": none
	TokenStatus int           // answers requests for a token with this status, e.g. 403 (turned off), 404 (IMDSv1 only)
	ExpireOnce  bool          // the first request with a token finds it expired
	Delay       time.Duration // before each answer
}

// Service is the handler. It is safe for concurrent use.
type Service struct {
	opts Options

	mu       sync.Mutex
	tokens   map[string]time.Time // until when each is valid
	expired  bool
	requests int
	paths    []string
}

// New returns a service.
func New(o Options) *Service {
	return &Service{opts: o, tokens: map[string]time.Time{}}
}

// Requests tells how many requests came in.
func (s *Service) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Paths lists "METHOD path" of the requests.
func (s *Service) Paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.paths...)
}

func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	s.paths = append(s.paths, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	time.Sleep(s.opts.Delay)
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		s.issue(w, r)
	case r.Method != http.MethodGet:
		http.Error(w, "", http.StatusMethodNotAllowed)
	case s.opts.TokenStatus != http.StatusNotFound && !s.valid(r.Header.Get("X-Aws-Ec2-Metadata-Token")):
		http.Error(w, "", http.StatusUnauthorized)
	default:
		s.answer(w, r)
	}
}

// issue gives a session token for 1 to 21600 seconds.
func (s *Service) issue(w http.ResponseWriter, r *http.Request) {
	if s.opts.TokenStatus != 0 {
		http.Error(w, "", s.opts.TokenStatus)
		return
	}
	ttl, err := strconv.Atoi(r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds"))
	if err != nil || ttl < 1 || ttl > 21600 || r.Header.Get("X-Forwarded-For") != "" {
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	raw := make([]byte, 24)
	_, _ = rand.Read(raw)
	token := hex.EncodeToString(raw)
	s.mu.Lock()
	s.tokens[token] = time.Now().Add(time.Duration(ttl) * time.Second)
	s.mu.Unlock()
	w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", strconv.Itoa(ttl))
	fmt.Fprint(w, token)
}

func (s *Service) valid(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.tokens[token]
	if !ok || time.Now().After(until) {
		return false
	}
	if s.opts.ExpireOnce && !s.expired {
		s.expired = true
		delete(s.tokens, token)
		return false
	}
	return true
}

func (s *Service) answer(w http.ResponseWriter, r *http.Request) {
	o := s.opts
	switch p := r.URL.Path; {
	case (p == "/2019-10-01/user-data" || p == "/latest/user-data") && o.UserData != nil:
		_, _ = w.Write(o.UserData)
	case p == "/latest/dynamic/instance-identity/document" && o.Region != "":
		_ = json.NewEncoder(w).Encode(map[string]string{"region": o.Region})
	case p == "/latest/meta-data/iam/security-credentials/" && o.Role != "":
		fmt.Fprint(w, o.Role)
	case p == "/latest/meta-data/iam/security-credentials/"+o.Role && o.Role != "":
		_ = json.NewEncoder(w).Encode(map[string]string{
			"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "not-a-secret",
			"Token": "session", "Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		})
	default:
		http.NotFound(w, r)
	}
}
