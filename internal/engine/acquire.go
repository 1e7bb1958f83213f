// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/providers/cmdline"
	"firstboot.dev/ignition/internal/providers/system"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/stages"
)

// acquire gives the user's config: from the sources in fetch stages, else from the cache.
func (r *run) acquire(ctx context.Context) (config.Config, error) {
	if !r.stage.Fetches {
		return r.fromCache(ctx)
	}
	user, err := r.fromSources(ctx)
	switch {
	case err == nil:
	case errors.Is(err, config.ErrEmpty):
		if _, why, ok := strings.Cut(err.Error(), config.ErrEmpty.Error()+": "); ok {
			r.Log.Info("user data is no config: %s", why)
		}
		r.Log.Info("%v: provider config was empty, continuing with empty cache config", config.ErrEmpty)
		user = config.Empty()
	case errors.Is(err, resource.ErrNeedNet):
		r.Log.Info("failed to fetch config: %v", err)
		return config.Config{}, err
	default:
		r.Log.Warning("failed to fetch config: %v", err)
		return config.Config{}, err
	}
	if err := r.settle(ctx, &user); err != nil {
		return config.Config{}, err
	}
	r.journalFetched()
	return user, nil
}

// settle makes a rendered config what all stages run with: its settings are in
// force, its CAs inline, its parts valid together, and it is in the cache.
func (r *run) settle(ctx context.Context, user *config.Config) error {
	if err := r.agreedConfig(*user); err != nil {
		r.Log.Crit("%v", err)
		return err
	}
	f, err := r.root.Using(ctx, r.Log, user.Ignition)
	if err != nil {
		return err
	}
	r.fetcher = f
	if err := embedCAs(ctx, r.Log, f, user); err != nil {
		r.Log.Crit("error handling CAs: %v", err)
		return err
	}
	if rep := config.ValidateMerged(*user); len(rep.Entries) > 0 {
		logReport(r.Log, rep)
		if rep.IsFatal() {
			r.Log.Crit("merging configs resulted in an invalid config")
			return withReport(config.ErrInvalid, rep)
		}
	}
	if err := r.origins.save(originsFile(r.StateFile)); err != nil {
		r.Log.Warning("errors of later stages will have no line numbers: %v", err)
	}
	r.state.ProviderConfig = nil // the cache has it
	return writeCache(r.ConfigCache, *user)
}

// fromCache reads what a fetch stage left.
func (r *run) fromCache(ctx context.Context) (config.Config, error) {
	raw, err := os.ReadFile(r.ConfigCache)
	if err != nil {
		return config.Config{}, err
	}
	user, err := config.UnmarshalCache(raw)
	if err != nil {
		r.Log.Crit("failed to parse cached config: %v", err)
		return config.Config{}, err
	}
	r.fetcher, err = r.root.Using(ctx, r.Log, user.Ignition)
	return user, err
}

// source is one place that may have the user's config. The first that does not
// answer ErrNoProvider is the one.
type source struct {
	name  string
	fetch func(ctx context.Context, env *providers.Env) (providers.Result, error)
}

func (r *run) fromSources(ctx context.Context) (config.Config, error) {
	sources := []source{
		{"cmdline", cmdline.Fetch},
		{"system", system.Fetch},
		{r.Platform.provider.Name, r.fromPlatform},
	}
	for i, s := range sources {
		res, err := s.fetch(ctx, r.env)
		if errors.Is(err, providers.ErrNoProvider) {
			continue
		}
		if err != nil {
			return config.Config{}, err
		}
		if i < len(sources)-1 {
			res.Files = r.platformFiles(ctx)
		}
		r.state.ProviderOutputFiles = res.Files
		if res.Raw, err = providers.Unpack(res.Raw); err != nil {
			return config.Config{}, err
		}
		doc, err := parse(r.Log, res.Raw)
		if err != nil {
			return config.Config{}, err
		}
		r.state.AddFetched(stages.FetchedConfig{Kind: "user", Source: s.name})
		r.origins.add("the config of "+s.name, doc)
		r.config = doc.Config
		return newRenderer(r).render(ctx, r.config)
	}
	return config.Config{}, providers.ErrNoProvider
}

// fromPlatform asks the platform, unless an earlier stage did and the platform
// gives its config only once.
func (r *run) fromPlatform(ctx context.Context, env *providers.Env) (providers.Result, error) {
	if len(r.state.ProviderConfig) > 0 {
		return providers.Result{Raw: r.state.ProviderConfig, Files: r.state.ProviderOutputFiles}, nil
	}
	res, err := r.Platform.provider.Fetch(ctx, env)
	if err == nil && res.Once {
		r.state.ProviderConfig = res.Raw
	}
	return res, err
}

// platformFiles gives the platform's files where the config is not its own.
// They are not what a boot must fail for.
func (r *run) platformFiles(ctx context.Context) []config.File {
	files := r.Platform.provider.Files
	if files == nil || len(r.state.ProviderOutputFiles) > 0 {
		return r.state.ProviderOutputFiles
	}
	list, err := files(ctx, r.env)
	if err != nil {
		r.Log.Warning("failed to fetch the files of platform %q: %v", r.Platform.Name, err)
	}
	return list
}

func (r *run) providerEnv() *providers.Env {
	timeout := r.FetchTimeout
	if rest := timeout % time.Second; rest != 0 {
		timeout += time.Second - rest
	}
	first := r.root.WithTimeouts(10*time.Second, timeout)
	return &providers.Env{
		Log:          r.Log,
		Fetcher:      first,
		CommandLine:  func() ([]providers.Arg, error) { return readCommandLine(r.CommandLinePath) },
		LabelDir:     r.LabelDir,
		DevDir:       "/dev",
		RunDir:       "/run",
		SysDir:       "/sys",
		ConfigFile:   r.ConfigFile,
		SystemDirs:   r.SystemDirs,
		Arch:         arch,
		FetchTimeout: timeout,
		IMDSEndpoint: r.IMDSEndpoint,
		IMDSMode:     r.IMDSMode,
		Mount:        r.mountReadOnly,
		Run:          r.program,
		Modprobe:     r.modprobe,
	}
}

// embedCAs replaces each CA's source by its content, so that later stages need
// no network for it.
func embedCAs(ctx context.Context, log *oplog.Logger, f *resource.Fetcher, c *config.Config) error {
	for i := range c.Ignition.Security.TLS.CertificateAuthorities {
		ca := &c.Ignition.Security.TLS.CertificateAuthorities[i]
		pem, err := f.CABytes(ctx, log, *ca)
		if err != nil {
			return fmt.Errorf("$.ignition.security.tls.certificateAuthorities.%d: %w", i, err)
		}
		media := strings.ReplaceAll(http.DetectContentType(pem), " ", "")
		inline := "data:" + media + ";base64," + base64.StdEncoding.EncodeToString(pem)
		ca.Source = &inline
		ca.HTTPHeaders = nil
		ca.Compression = nil
	}
	return nil
}
