// SPDX-License-Identifier: Apache-2.0

package luks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/exec"
)

// CEXKeyFile is the key file of volumes whose protection is a crypto express
// card's: a constant that every such initramfs brings along, and no secret.
const CEXKeyFile = "/etc/luks/cex.key"

// apDevices is where the kernel lists cards and queues.
const apDevices = "/sys/bus/ap/devices"

// maxCEXFile bounds what is taken from zkey's repository; keys have some hundred bytes.
const maxCEXFile = 1 << 20

// isQueue tells whether a name has card.domain in it, as 00.0001.
func isQueue(name string) bool {
	hex := func(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
	for at := range name {
		if rest := name[at:]; len(rest) >= 7 && rest[2] == '.' && hex(rest[:2]) && hex(rest[3:7]) {
			return true
		}
	}
	return false
}

// GenerateCEX has the crypto express cards make the volume's key.
func (m *Manager) GenerateCEX(ctx context.Context, v Volume) error {
	dir := m.repository()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating zkey repository: %w", err)
	}
	queues, err := m.ccaQueues()
	if err != nil {
		return err
	}
	c := exec.Cmd{Name: distro.Zkey, Args: []string{
		"generate", "--name", keyName(v), "--key-type", "CCA-AESCIPHER", "--xts",
		"--description", fmt.Sprintf("Secure Key for %s Volume", v.Name), "--apqns", strings.Join(queues, ","),
	}}
	if err := m.run(ctx, v.generateOp(), c); err != nil {
		return fmt.Errorf("generating cex secure keys: %w", err)
	}
	return nil
}

// ccaQueues lists the queues that are in CCA coprocessor mode.
func (m *Manager) ccaQueues() ([]string, error) {
	dir := pathOr(m.APDevices, apDevices)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("adjunct processor not found: %w", err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() || !isQueue(e.Name()) {
			continue
		}
		uevent, err := os.ReadFile(filepath.Join(dir, e.Name(), "uevent"))
		if err != nil {
			return nil, fmt.Errorf("failed to parse uevent file: %w", err)
		}
		if isCCA(string(uevent)) {
			out = append(out, e.Name())
		}
	}
	if len(out) == 0 {
		return nil, errors.New("cannot find the cca ap controller")
	}
	return out, nil
}

func isCCA(uevent string) bool {
	for line := range strings.Lines(uevent) {
		if _, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && v == "cca" {
			return true
		}
	}
	return false
}

// cexFormatArgs follow the device in luksFormat. Arguments that zkey itself
// proposes ask for argon2i, which FIPS mode forbids.
func (m *Manager) cexFormatArgs(v Volume) ([]string, error) {
	key := m.keyPath(v, ".skey")
	info, err := os.Stat(key)
	if err != nil {
		return nil, fmt.Errorf("cex volume key: %w", err)
	}
	return []string{"--volume-key-file", key, "--cipher", "paes-xts-plain64",
		"--key-size", strconv.FormatInt(info.Size()*8, 10)}, nil
}

// VerifyCEX stores a verification pattern in the header, by which the key is recognised.
func (m *Manager) VerifyCEX(ctx context.Context, v Volume) error {
	c := exec.Cmd{Name: distro.ZkeyCryptsetup, Args: []string{"setvp", v.Alias, "--key-file", v.KeyFile}}
	if err := m.run(ctx, v.verifyOp(), c); err != nil {
		return fmt.Errorf("zkey Verification pattern failed: %w", err)
	}
	return nil
}

// CEXFiles gives the files, by name, that the real root's zkey needs.
func (m *Manager) CEXFiles(v Volume) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, suffix := range []string{".info", ".skey"} {
		path := m.keyPath(v, suffix)
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("reading cex volume key: %w", err)
		}
		if info.Size() > maxCEXFile {
			return nil, fmt.Errorf("reading cex volume key: %s is too long", path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading cex volume key: %w", err)
		}
		out[filepath.Base(path)] = data
	}
	return out, nil
}

func (m *Manager) repository() string {
	return pathOr(m.Repository, distro.LuksCexRealRootRepository)
}

func keyName(v Volume) string { return "ignition-luks-" + v.Name }

func (m *Manager) keyPath(v Volume, suffix string) string {
	return filepath.Join(m.repository(), keyName(v)+suffix)
}
