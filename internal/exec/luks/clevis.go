// SPDX-License-Identifier: Apache-2.0

package luks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// UsesClevis says whether the entry asks for a clevis binding.
func UsesClevis(l *config.LUKS) bool {
	c := &l.Clevis
	return isCustom(c) || len(c.Tang) > 0 || value(c.TPM2) || value(c.Threshold) != 0
}

// NeedsNet says whether unlocking the volume on later boots needs the network.
func NeedsNet(l *config.LUKS) bool {
	return len(l.Clevis.Tang) > 0 || value(l.Clevis.Custom.NeedsNetwork)
}

// OnlineTang gives the advertisement URLs of the Tang servers whose
// advertisement the config does not hold. They have to answer now.
func OnlineTang(l *config.LUKS) []string {
	var out []string
	for i := range l.Clevis.Tang {
		if isOnline(&l.Clevis.Tang[i]) {
			out = append(out, advertisementURL(l.Clevis.Tang[i].URL))
		}
	}
	return out
}

// Reopens says whether unlocking can be tried at once: enough pins for the
// threshold answer here and now. A server whose advertisement was given is
// taken to be out of reach, and of a custom pin nothing is known.
func Reopens(l *config.LUKS) bool {
	if !UsesClevis(l) || isCustom(&l.Clevis) {
		return false
	}
	pins := len(OnlineTang(l))
	if value(l.Clevis.TPM2) {
		pins++
	}
	return pins >= threshold(&l.Clevis)
}

func isCustom(c *config.Clevis) bool { return value(c.Custom.Pin) != "" }

func isOnline(t *config.Tang) bool { return value(t.Advertisement) == "" }

// threshold is how many pins have to answer; 0 was meant as unset, and clevis refuses it.
func threshold(c *config.Clevis) int {
	if n := value(c.Threshold); n != 0 {
		return n
	}
	return 1
}

// advertisementURL adds "adv" to the path. A URL that cannot be parsed, which no
// valid config holds, is given as it is: fetching it tells what is wrong.
func advertisementURL(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	return u.JoinPath("adv").String()
}

// sss is the config of clevis' pin for Shamir's secret sharing. The order of
// the keys is fixed; support tools compare texts.
type sss struct {
	Pins      pins `json:"pins"`
	Threshold int  `json:"t"`
}

type pins struct {
	Tang []tangPin `json:"tang,omitempty"`
	TPM2 *struct{} `json:"tpm2,omitempty"`
}

type tangPin struct {
	URL           string          `json:"url"`
	Thumbprint    string          `json:"thp,omitempty"`
	Advertisement json.RawMessage `json:"adv,omitempty"`
}

// ClevisPin gives the pin to bind to and its config.
func ClevisPin(c *config.Clevis) (pin, conf string, err error) {
	if isCustom(c) {
		return *c.Custom.Pin, value(c.Custom.Config), nil
	}
	s := sss{Threshold: threshold(c)}
	count := len(c.Tang)
	if value(c.TPM2) {
		s.Pins.TPM2 = &struct{}{}
		count++
	}
	switch {
	case count == 0:
		return "", "", errors.New("clevis needs at least one tang server or tpm2 beside the threshold")
	case s.Threshold < 0 || s.Threshold > count:
		return "", "", fmt.Errorf("clevis threshold %d cannot be reached with %d pins", s.Threshold, count)
	}
	for i := range c.Tang {
		t := &c.Tang[i]
		p := tangPin{URL: t.URL, Thumbprint: value(t.Thumbprint)}
		if !isOnline(t) {
			p.Advertisement = json.RawMessage(*t.Advertisement)
			var v any
			if err := json.Unmarshal(p.Advertisement, &v); err != nil {
				return "", "", fmt.Errorf("unmarshalling advertisement: %w", err)
			}
		}
		s.Pins.Tang = append(s.Pins.Tang, p)
	}
	// Without escapes for HTML, so that the advertisement stays as its author wrote it.
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return "", "", fmt.Errorf("clevis config: %w", err)
	}
	return "sss", strings.TrimSuffix(out.String(), "\n"), nil
}

// BindClevis adds a slot to the volume that clevis unlocks.
func (m *Manager) BindClevis(ctx context.Context, v Volume) error {
	if v.Clevis == nil {
		return errors.New("binding clevis device: no clevis config")
	}
	pin, conf, err := ClevisPin(v.Clevis)
	if err != nil {
		return fmt.Errorf("binding clevis device: %w", err)
	}
	args := []string{"luks", "bind", "-f", "-k", v.KeyFile, "-d", v.Alias, pin, conf}
	c := exec.Cmd{Name: distro.Clevis, Args: args, Hide: clevisSecrets(v.Clevis)}
	if len(c.Hide) > 0 {
		// clevis repeats its config when it fails.
		c.Hide = append(c.Hide, conf)
		c.Secret = []int{len(args) - 1}
	}
	if err := m.clevis(ctx, v.bindOp(), c); err != nil {
		return fmt.Errorf("binding clevis device: %w", err)
	}
	return nil
}

// Reopen closes the volume and has clevis unlock it, which proves that later boots can.
func (m *Manager) Reopen(ctx context.Context, v Volume) error {
	if err := m.close(ctx, v.op("luks-close", "closing clevis luks device %s", v.Name), v.Name); err != nil {
		return err
	}
	c := exec.Cmd{Name: distro.Clevis, Args: []string{"luks", "unlock", "-d", v.Alias, "-n", v.Name}}
	if v.Clevis != nil {
		c.Hide = clevisSecrets(v.Clevis)
	}
	if err := m.clevis(ctx, v.op("clevis-unlock", "reopening clevis luks device %s", v.Name), c); err != nil {
		return fmt.Errorf("reopening luks device %s: %w", v.Name, err)
	}
	return nil
}

// clevis runs clevis as an operation. A failure is told in words where clevis' own are known.
func (m *Manager) clevis(ctx context.Context, op oplog.Op, c exec.Cmd) error {
	return m.Log.Do(op, func(l *oplog.Logger) error {
		res, err := m.Runner.RunIn(ctx, l, c)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if why := explain(string(res.Stderr)); why != "" {
			return fmt.Errorf("%s: %w", why, err)
		}
		return err
	})
}

// clevisTexts are what clevis says of a failure, and what that means. The first that is found counts.
var clevisTexts = []struct{ text, means string }{
	{"did not sign the advertisement", "the tang server's keys do not match the configured thumbprint"},
	// A server that does not know the thumbprint answers "not found", which clevis tells like this too.
	{"Unable to fetch advertisement", "the tang server does not answer, or has no key with the configured thumbprint"},
	{"Error communicating with server", "the tang server does not answer"},
	{"Advertisement is malformed", "the tang server's advertisement is not valid"},
	{"Advertisement is missing signatures", "the tang server's advertisement is not valid"},
	{"Advertisement file", "the configured tang advertisement is not valid"},
	{"A TPM2 device with the in-kernel resource manager is needed", "this machine has no usable TPM 2.0"},
	{"device must be readable and writable", "this machine has no usable TPM 2.0"},
	{"Creating TPM2 primary key failed", "the TPM refuses"},
	{"Creating TPM2 object for jwk failed", "the TPM refuses"},
	{"Loading jwk to TPM2 failed", "the TPM refuses"},
	{"Unsealing jwk from TPM failed", "the TPM refuses"},
	{"Unable to generate a new key", "pwmake gives no pass phrase"},
	{"is not a valid pin", "clevis has no such pin here"},
	{"Configuration is malformed", "clevis does not understand the pin's config"},
	{"No key available with this passphrase", "the key does not open the volume"},
}

func explain(stderr string) string {
	for _, t := range clevisTexts {
		if strings.Contains(stderr, t.text) {
			return t.means
		}
	}
	return ""
}

// clevisSecrets are the parts of a clevis config that no text may show. Of a
// custom pin nothing is known, so that every string in its config is one.
func clevisSecrets(c *config.Clevis) []string {
	if isCustom(c) {
		conf := value(c.Custom.Config)
		var v any
		if json.Unmarshal([]byte(conf), &v) != nil {
			return []string{conf}
		}
		return append(leaves(v), conf)
	}
	var out []string
	for i := range c.Tang {
		out = append(out, urlSecrets(c.Tang[i].URL)...)
	}
	return out
}

// leaves are all strings in a JSON value.
func leaves(v any) []string {
	var out []string
	switch v := v.(type) {
	case string:
		out = append(out, v)
	case []any:
		for _, e := range v {
			out = append(out, leaves(e)...)
		}
	case map[string]any:
		for _, e := range v {
			out = append(out, leaves(e)...)
		}
	}
	return out
}

// urlSecrets are the parts of a URL with credentials that could be found in a text.
func urlSecrets(s string) []string {
	if config.RedactURL(s) == s {
		return nil
	}
	out := []string{s}
	u, err := url.Parse(s)
	if err != nil {
		return out
	}
	if password, ok := u.User.Password(); ok {
		_, raw, _ := strings.Cut(u.User.String(), ":")
		out = append(out, password, raw)
	}
	for _, part := range strings.FieldsFunc(u.RawQuery+"&"+u.EscapedFragment(), func(r rune) bool { return strings.ContainsRune("&;?#", r) }) {
		if _, v, ok := strings.Cut(part, "="); ok {
			out = append(out, v)
			if plain, err := url.QueryUnescape(v); err == nil {
				out = append(out, plain)
			}
		}
	}
	return out
}
