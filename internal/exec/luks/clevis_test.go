// SPDX-License-Identifier: Apache-2.0

package luks

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
)

func tang(url, thumbprint, advertisement string) config.Tang {
	return config.Tang{URL: url, Thumbprint: ptr(thumbprint), Advertisement: ptr(advertisement)}
}

func custom(pin, conf string) config.Clevis {
	return config.Clevis{Custom: config.ClevisCustom{Pin: ptr(pin), Config: ptr(conf)}}
}

func TestClevisPin(t *testing.T) {
	one, two := tang("http://h:8080/x?a=1&b=<2>", "th", ""), config.Tang{URL: "https://i"}
	for _, row := range []struct {
		name           string
		clevis         config.Clevis
		pin, conf, err string
	}{
		{"tpm2", config.Clevis{TPM2: ptr(true)}, "sss", `{"pins":{"tpm2":{}},"t":1}`, ""},
		{"one tang", config.Clevis{Tang: []config.Tang{one}}, "sss",
			`{"pins":{"tang":[{"url":"http://h:8080/x?a=1&b=<2>","thp":"th"}]},"t":1}`, ""},
		{"two tang, threshold 2", config.Clevis{Tang: []config.Tang{one, two}, Threshold: ptr(2)}, "sss",
			`{"pins":{"tang":[{"url":"http://h:8080/x?a=1&b=<2>","thp":"th"},{"url":"https://i"}]},"t":2}`, ""},
		{"tang and tpm2", config.Clevis{Tang: []config.Tang{two}, TPM2: ptr(true), Threshold: ptr(2)}, "sss",
			`{"pins":{"tang":[{"url":"https://i"}],"tpm2":{}},"t":2}`, ""},
		{"tpm2 false", config.Clevis{Tang: []config.Tang{two}, TPM2: ptr(false)}, "sss",
			`{"pins":{"tang":[{"url":"https://i"}]},"t":1}`, ""},
		{"advertisement in its own order", config.Clevis{Tang: []config.Tang{tang("http://h", "th", "\n{\"z\": \"<&>\\/\\u00e9\", \"a\":\t[1.50, 1e3]}")}}, "sss",
			`{"pins":{"tang":[{"url":"http://h","thp":"th","adv":{"z":"<&>\/\u00e9","a":[1.50,1e3]}}]},"t":1}`, ""},
		{"empty advertisement and thumbprint", config.Clevis{Tang: []config.Tang{tang("http://h", "", "")}}, "sss",
			`{"pins":{"tang":[{"url":"http://h"}]},"t":1}`, ""},
		{"threshold 0", config.Clevis{TPM2: ptr(true), Threshold: ptr(0)}, "sss", `{"pins":{"tpm2":{}},"t":1}`, ""},
		{"custom", custom("tpm2", ` { "pcr_ids": "7" }`), "tpm2", ` { "pcr_ids": "7" }`, ""},
		{"threshold alone", config.Clevis{Threshold: ptr(2)}, "", "", "clevis needs at least one tang server or tpm2 beside the threshold"},
		{"threshold too high", config.Clevis{TPM2: ptr(true), Threshold: ptr(2)}, "", "", "clevis threshold 2 cannot be reached with 1 pins"},
		{"threshold below 0", config.Clevis{TPM2: ptr(true), Threshold: ptr(-1)}, "", "", "clevis threshold -1 cannot"},
		{"advertisement cut", config.Clevis{Tang: []config.Tang{tang("http://h", "th", `{"a":`)}}, "", "", "unmarshalling advertisement: unexpected end of JSON input"},
		{"blank advertisement", config.Clevis{Tang: []config.Tang{tang("http://h", "th", " ")}}, "", "", "unmarshalling advertisement: unexpected end of JSON input"},
	} {
		t.Run(row.name, func(t *testing.T) {
			pin, conf, err := ClevisPin(&row.clevis)
			checkError(t, err, row.err)
			if pin != row.pin || conf != row.conf {
				t.Errorf("got  %s %s\nwant %s %s", pin, conf, row.pin, row.conf)
			}
			if conf != "" && !json.Valid([]byte(conf)) {
				t.Errorf("not JSON: %s", conf)
			}
		})
	}
}

// TestReopens goes through all combinations of pins and thresholds.
func TestReopens(t *testing.T) {
	for online := range 3 {
		for offline := range 3 {
			for tpm2 := range 2 {
				for _, threshold := range []*int{nil, ptr(0), ptr(1), ptr(2), ptr(3), ptr(4)} {
					l := &config.LUKS{Clevis: config.Clevis{TPM2: ptr(tpm2 == 1), Threshold: threshold}}
					for n := range online {
						l.Clevis.Tang = append(l.Clevis.Tang, config.Tang{URL: fmt.Sprintf("http://on%d", n)})
					}
					for n := range offline {
						l.Clevis.Tang = append(l.Clevis.Tang, tang(fmt.Sprintf("http://off%d", n), "t", "{}"))
					}
					used := online+offline+tpm2 > 0 || value(threshold) > 0
					want := used && online+tpm2 >= max(1, value(threshold))
					name := fmt.Sprintf("%d online, %d offline, %d tpm2, threshold %d", online, offline, tpm2, value(threshold))
					if got := Reopens(l); got != want {
						t.Errorf("%s: reopens %v, want %v", name, got, want)
					}
					if got := UsesClevis(l); got != used {
						t.Errorf("%s: uses clevis %v, want %v", name, got, used)
					}
					if got := len(OnlineTang(l)); got != online {
						t.Errorf("%s: %d servers to fetch from", name, got)
					}
				}
			}
		}
	}
}

func TestCustomPin(t *testing.T) {
	l := &config.LUKS{Clevis: custom("tang", `{"url":"http://h"}`)}
	if !UsesClevis(l) || Reopens(l) || NeedsNet(l) || OnlineTang(l) != nil {
		t.Error("a custom pin is bound, never reopened, and has no network of its own")
	}
	l.Clevis.Custom.NeedsNetwork = ptr(true)
	if !NeedsNet(l) {
		t.Error("needsNetwork has no effect")
	}
	if l := (&config.LUKS{Clevis: custom("", "")}); UsesClevis(l) || Reopens(l) {
		t.Error("an empty pin is none")
	}
}

func TestOnlineTang(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"http://h:8080/x/", "http://h:8080/x/adv"},
		{"http://h", "http://h/adv"},
		{"https://u:p@h/a//b?q=%26&r#f", "https://u:p@h/a/b/adv?q=%26&r#f"},
		{"http://[fd00::1]:80", "http://[fd00::1]:80/adv"},
		{"http://h/%2fx", "http://h/%2fx/adv"},
		{"http://[", "http://["},
	} {
		l := &config.LUKS{Clevis: config.Clevis{Tang: []config.Tang{{URL: row.in}, tang("http://offline", "t", "{}")}}}
		if got := OnlineTang(l); !slices.Equal(got, []string{row.want}) {
			t.Errorf("%s: got %v, want %s", row.in, got, row.want)
		}
		if !NeedsNet(l) {
			t.Errorf("%s: needs no network", row.in)
		}
	}
	if NeedsNet(&config.LUKS{Clevis: config.Clevis{TPM2: ptr(true)}}) {
		t.Error("a TPM needs the network")
	}
}

// TestBindSecrets has a clevis that repeats its arguments, as the real one does.
func TestBindSecrets(t *testing.T) {
	for _, row := range []struct {
		name    string
		clevis  config.Clevis
		secrets []string
		shown   string // of the logged arguments
	}{
		{"sss", config.Clevis{Tang: []config.Tang{tang("http://h/x?a=1", "thumb", "")}}, nil, `\"thp\\\":\\\"thumb\\\"`},
		{"password in a tang URL", config.Clevis{Tang: []config.Tang{tang("http://u:se%23cret@h/", "thumb", "")}},
			[]string{"se%23cret", "se#cret"}, `sss\" \"<redacted>\"`},
		{"token in a tang URL", config.Clevis{Tang: []config.Tang{tang("http://h/?token=se%2bcret&x=1#sig=abcdef", "thumb", "")}},
			[]string{"se%2bcret", "se+cret", "abcdef"}, `sss\" \"<redacted>\"`},
		{"custom", custom("mine", `{"token": "hush-hush", "more": [{"pin": "12345"}]}`), []string{"hush-hush", "12345"}, `mine\" \"<redacted>\"`},
		{"custom without JSON", custom("mine", `hush-hush`), []string{"hush-hush"}, `mine\" \"<redacted>\"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := with(func(v *Volume) { v.Clevis = &row.clevis })
			script := `echo "config '$9'" >&2`
			for _, s := range row.secrets {
				script += fmt.Sprintf("\necho \"could not use '%s'\" >&2", s)
			}
			b := stubs(t, script+"\nexit 1")
			err := b.BindClevis(t.Context(), v)
			checkError(t, err, "binding clevis device: exit status 1")
			for _, s := range row.secrets {
				if strings.Contains(err.Error(), s) || strings.Contains(b.log.String(), s) {
					t.Errorf("%q is shown: %v\n%s", s, err, b.log)
				}
			}
			checkLog(t, b, true, row.shown)
			_, conf, _ := ClevisPin(&row.clevis)
			if calls := b.calls(); len(calls) != 1 || !strings.HasSuffix(calls[0], "["+conf+"]") {
				t.Errorf("clevis got %v", calls)
			}
		})
	}
}

func TestBindRefused(t *testing.T) {
	for _, c := range []*config.Clevis{nil, {}, {Threshold: ptr(2)}} {
		b := stubs(t, "exit 0")
		checkError(t, b.BindClevis(t.Context(), with(func(v *Volume) { v.Clevis = c })), "binding clevis device: ")
		checkCalls(t, b)
	}
}

func TestExplain(t *testing.T) {
	for _, row := range []struct{ name, stderr, want string }{
		{"tang is down", "Unable to fetch advertisement: http://h/adv/x!", "the tang server does not answer, or has no key with the configured thumbprint: "},
		{"thumbprint", "Trusted JWK x did not sign the advertisement!", "the tang server's keys do not match the configured thumbprint: "},
		{"no TPM", "A TPM2 device with the in-kernel resource manager is needed!", "this machine has no usable TPM 2.0: "},
		{"TPM", "Creating TPM2 primary key failed!", "the TPM refuses: "},
		{"unknown", "something", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := stubs(t, `[ ${0##*/} = cryptsetup ] || { echo "`+row.stderr+`" >&2; exit 1; }`)
			v := with(func(v *Volume) { v.Clevis = &config.Clevis{TPM2: ptr(true)} })
			err := b.BindClevis(t.Context(), v)
			checkError(t, err, "binding clevis device: "+row.want+"exit status 1: Cmd: ")
			if err == nil || !strings.Contains(err.Error(), row.stderr) {
				t.Errorf("clevis' own text is missing: %v", err)
			}
			checkError(t, b.Reopen(t.Context(), v), "reopening luks device data: "+row.want+"exit status 1: Cmd: ")
		})
	}
}
