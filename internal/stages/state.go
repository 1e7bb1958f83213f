// SPDX-License-Identifier: Apache-2.0

package stages

import "firstboot.dev/ignition/internal/config"

// State is what one stage leaves for the next ones. The names of its keys are
// an interface: images read the file.
type State struct {
	FetchedConfigs            []FetchedConfig   `json:"fetchedConfigs"`
	LUKSPersistKeyFiles       map[string]string `json:"luksPersistKeyFiles"`       // volume name to data URL
	LUKSPersistVolumeKeyFiles map[string]string `json:"luksPersistVolumeKeyFiles"` // file name to data URL
	NotatedDirectories        []string          `json:"notatedDirectories"`        // made by mount, without the root
	ProviderOutputFiles       []config.File     `json:"providerOutputFiles"`
	ProviderConfig            []byte            `json:"providerConfig,omitempty"` // of a platform that gives it once, until it is in the cache
}

// FetchedConfig records one config that took part.
type FetchedConfig struct {
	Kind       string `json:"kind"` // "base" or "user"
	Source     string `json:"source"`
	Referenced bool   `json:"referenced"`
}

// AddFetched records a config once, however often a stage meets it.
func (s *State) AddFetched(f FetchedConfig) {
	for _, have := range s.FetchedConfigs {
		if have == f {
			return
		}
	}
	s.FetchedConfigs = append(s.FetchedConfigs, f)
}

// UserConfigProvided tells whether any user config was found.
func (s *State) UserConfigProvided() bool {
	for _, f := range s.FetchedConfigs {
		if f.Kind == "user" {
			return true
		}
	}
	return false
}
