// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"crypto/sha512"
	"fmt"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/config/legacy"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/providers/system"
	"firstboot.dev/ignition/internal/stages"
	"github.com/coreos/vcontext/report"
)

// baseConfig merges the distribution's fragments: all of base.d, and over it
// those of the platform. They are never rendered.
func (r *run) baseConfig() (config.Config, error) {
	base := config.Empty()
	n, err := system.BaseFragments(r.Log, r.SystemDirs, r.Platform.Name, func(f system.Fragment) error {
		cfg, err := parse(r.Log, f.Raw)
		if err != nil {
			return fmt.Errorf("%s: %v", f.Path, err)
		}
		r.origins.add(f.Path, f.Raw, cfg)
		warnReferences(r.Log, f.Path, cfg)
		base = config.Merge(base, cfg)
		return nil
	})
	if err != nil {
		return config.Config{}, err
	}
	if n > 0 {
		r.state.AddFetched(stages.FetchedConfig{Kind: "base", Source: "system"})
	}
	return base, nil
}

func warnReferences(log *oplog.Logger, path string, cfg config.Config) {
	if len(cfg.Ignition.Config.Merge) > 0 || cfg.Ignition.Config.Replace.Source != nil {
		log.Warning("%s: ignition.config.merge and ignition.config.replace are ignored in a base config", path)
	}
}

// parse reads one document and logs its hash and its report.
func parse(log *oplog.Logger, raw []byte) (config.Config, error) {
	log.Debug("parsing config with SHA512: %x", sha512.Sum512(raw))
	cfg, rep, err := legacy.Parse(raw)
	logReport(log, rep)
	return cfg, withReport(err, rep)
}

func logReport(log *oplog.Logger, rep report.Report) {
	for _, e := range rep.Entries {
		switch {
		case e.Kind.IsFatal():
			log.Crit("%s", e)
		case e.Kind == report.Warn:
			log.Warning("%s", e)
		default:
			log.Info("%s", e)
		}
	}
}
