// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/engine"
	"firstboot.dev/ignition/internal/oplog"
)

// parseFlags reads flags wherever they stand and returns the other arguments.
// done is true when the program has to end with the code.
func parseFlags(fs *flag.FlagSet, args []string) (rest []string, code int, done bool) {
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, 0, true
			}
			return nil, engine.ExitUsage, true
		}
		consumed := len(args) - fs.NArg()
		if consumed > 0 && args[consumed-1] == "--" {
			return append(rest, fs.Args()...), 0, false
		}
		if fs.NArg() == 0 {
			return rest, 0, false
		}
		rest = append(rest, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// common holds the flags that the stage runner and its kin share.
type common struct {
	root, configCache, needNet, stateFile, opsFile string
	fetchTimeout                                   time.Duration
	logToStdout, version                           bool
}

// environment fills what a run takes from the environment and from link-time settings.
func environment(p process) (engine.Options, error) {
	or := func(name, fallback string) string {
		if v := p.getenv(name); v != "" {
			return v
		}
		return fallback
	}
	fragments := distro.WriteAuthorizedKeysFragment()
	switch v := p.getenv("IGNITION_WRITE_AUTHORIZED_KEYS_FRAGMENT"); v {
	case "":
	case "true", "1":
		fragments = true
	case "false", "0":
		fragments = false
	default:
		return engine.Options{}, fmt.Errorf("IGNITION_WRITE_AUTHORIZED_KEYS_FRAGMENT is %q: want true, 1, false or 0", v)
	}
	return engine.Options{
		Version: distro.Version,
		SystemDirs: []string{
			or("IGNITION_SYSTEM_RUNTIME_CONFIG_DIR", distro.SystemRuntimeConfigDir),
			or("IGNITION_SYSTEM_LOCAL_CONFIG_DIR", distro.SystemLocalConfigDir),
			or("IGNITION_SYSTEM_CONFIG_DIR", distro.SystemConfigDir),
		},
		CommandLinePath: or("IGNITION_KERNEL_CMDLINE_PATH", distro.KernelCmdlinePath),
		LabelDir:        distro.DiskByLabelDir,
		OEMDir:          or("IGNITION_OEM_LOOKASIDE_DIR", distro.OEMLookasideDir),
		ConfigFile:      p.getenv("IGNITION_CONFIG_FILE"),
		IMDSEndpoint:    p.getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
		IMDSMode:        p.getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"),
		Fragments:       fragments,
		Stderr:          p.stderr,
	}, nil
}

// openLog opens the sink of ordinary lines and, when opsFile is not empty, the
// op record. A record that cannot be kept does not stop a boot.
func openLog(p process, toStdout bool, opsFile, stage string) (*oplog.Logger, func()) {
	handler := oplog.OpenDefault(toStdout, p.stdout, nil)
	if opsFile == "" {
		return logger(handler, nil), func() {}
	}
	rec, err := oplog.NewRecorder(opsFile)
	if err != nil {
		log := logger(handler, nil)
		log.Warning("no record of operations is kept: %v", err)
		return log, func() {}
	}
	rec.SetStage(stage)
	if id, err := os.ReadFile(distro.BootIDPath); err == nil {
		rec.SetBoot(strings.TrimSpace(string(id)))
	}
	return logger(handler, rec), func() { _ = rec.Close() }
}

func logger(h slog.Handler, rec *oplog.Recorder) *oplog.Logger {
	log := oplog.New(h, rec)
	log.SetJournal(oplog.Journal)
	return log
}
