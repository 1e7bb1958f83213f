// SPDX-License-Identifier: Apache-2.0

// Package packet is the provider of Equinix Metal machines: the config is the
// user data of the metadata service, and each stage's end is told to the
// machine's timeline there.
package packet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const (
	userData = "https://metadata.packet.net/userdata"
	metadata = "https://metadata.packet.net/metadata"

	// reportTime bounds a report, which must hold up no boot.
	reportTime = 10 * time.Second
)

// accept replaces the default, which is answered with 406.
func accept() map[string][]string { return http.Header{"Accept": {"*/*"}} }

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return providers.UserData(ctx, env, userData, accept())
}

// Status tells how a stage ended. Offline, nothing is told.
func Status(ctx context.Context, env *providers.Env, stage string, stageErr error) error {
	if env.Fetcher.IsOffline() {
		return nil
	}
	env.Log.Info("POST message to Packet Timeline")
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	raw, err := providers.Metadata(ctx, env, env.Log, metadata, accept())
	if err != nil {
		return err
	}
	url, err := eventsURL(raw)
	if err != nil {
		return err
	}
	body, err := message(stage, stageErr)
	if err != nil {
		return err
	}
	_, _, err = env.Fetcher.Bytes(ctx, env.Log, resource.Request{
		URL: url, Method: http.MethodPost, Headers: http.Header{"Content-Type": {"application/json"}}, Body: body, Limit: 1 << 20,
	})
	return err
}

// eventsURL finds out of the machine's metadata where its events go.
func eventsURL(raw []byte) (string, error) {
	var m struct {
		PhoneHomeURL string `json:"phone_home_url"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", fmt.Errorf("metadata: %w", err)
	}
	if m.PhoneHomeURL == "" {
		return "", fmt.Errorf("metadata: there is no phone_home_url")
	}
	return strings.TrimSuffix(m.PhoneHomeURL, "/phone-home") + "/events", nil
}

// message is the text of a report. A success is called running, since
// provisioning as a whole is not over yet.
func message(stage string, stageErr error) ([]byte, error) {
	m := struct {
		State   string `json:"state"`
		Message string `json:"message"`
	}{"running", fmt.Sprintf("[%s] Ignition status: finished successfully", stage)}
	if stageErr != nil {
		m.State, m.Message = "failed", fmt.Sprintf("[%s] Ignition error: %v", stage, stageErr)
	}
	return json.Marshal(m)
}
