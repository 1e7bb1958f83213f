// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"

	"firstboot.dev/ignition/internal/oplog"
)

// Outcomes that are posted.
const (
	OutcomeSuccess = "success"
	OutcomeFailure = "failure"
)

// Outcome is what is posted to ignition.report.url.
type Outcome struct {
	Outcome    string         `json:"outcome"`
	Version    string         `json:"version"`
	Platform   string         `json:"platform,omitempty"`
	Boot       string         `json:"bootID,omitempty"`
	Failure    *oplog.Failure `json:"failure,omitempty"`
	Operations []oplog.Record `json:"operations"`
}

const (
	postTries = 3
	postTime  = 15 * time.Second // of one try
)

// postPause is the pause after a try that failed. It is a variable for tests.
var postPause = 2 * time.Second

// Post sends the outcome to where the kernel command line says, if it does. The
// record of operations has no secrets.
func (e *Env) Post(ctx context.Context, outcome string, f *oplog.Failure) error {
	cmdline, err := e.CommandLine()
	if err != nil {
		return err
	}
	to, ok := words(cmdline)["ignition.report.url"]
	if !ok {
		return nil
	}
	if err := checkReportURL(to); err != nil {
		return fmt.Errorf("ignition.report.url: %w", err)
	}
	id, _ := platformID(cmdline, func() string { return e.virt(ctx) }) // a failure may be about it
	body, err := json.Marshal(Outcome{outcome, e.Version, id, e.BootID, f, e.operations()})
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := send(ctx, to, body)
		if err == nil {
			e.Log.Info("the outcome was reported")
			return nil
		}
		if try == postTries || ctx.Err() != nil {
			return fmt.Errorf("reporting the outcome, %d tries: %w", try, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(postPause):
		}
	}
}

// operations are those of this boot, as far as they can be read.
func (e *Env) operations() []oplog.Record {
	out := []oplog.Record{}
	f, err := os.Open(e.run("ops.jsonl"))
	if err != nil {
		return out
	}
	defer f.Close()
	all, err := oplog.ReadRecords(f)
	if err != nil {
		e.Log.Debug("the record of operations: %v", err)
	}
	for _, r := range all {
		if r.Boot == "" || e.BootID == "" || r.Boot == e.BootID {
			out = append(out, r)
		}
	}
	return out
}

// checkReportURL: a report goes over TLS, or does not leave the link.
func checkReportURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("it is no URL") // whose text may hold a password
	}
	if u.Scheme == "https" && u.Hostname() != "" {
		return nil
	}
	if u.Scheme == "http" {
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && a.IsLinkLocalUnicast() {
			return nil
		}
	}
	return errors.New("only https, or http to a link-local address, is allowed")
}

func send(ctx context.Context, to string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, postTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL
		}
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16))
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the server answered %s", res.Status)
	}
	return nil
}
