// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"crypto/sha512"
	"errors"
	"fmt"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/document"
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
		doc, err := parse(r.Log, f.Raw)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, notEmpty(err))
		}
		r.origins.add(f.Path, doc)
		warnReferences(r.Log, f.Path, doc.Config)
		base = config.Merge(base, doc.Config)
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
func parse(log *oplog.Logger, raw []byte) (document.Document, error) {
	log.Debug("parsing config with SHA512: %x", sha512.Sum512(raw))
	doc, rep, err := document.Parse(raw)
	logReport(log, rep)
	return doc, withReport(err, rep)
}

// notEmpty keeps an empty fragment from passing for an empty user config.
func notEmpty(err error) error {
	if errors.Is(err, config.ErrEmpty) {
		return errors.New(err.Error())
	}
	return err
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
