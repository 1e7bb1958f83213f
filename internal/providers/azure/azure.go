// SPDX-License-Identifier: Apache-2.0

// Package azure is the provider of Azure virtual machines: the config is the
// user data of the instance metadata service, or else the custom data on the
// provisioning medium, a CD-ROM. Azure Stack machines have the medium alone.
// Telling Azure that the machine is ready is for other programs.
package azure

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const userData = "http://169.254.169.254/metadata/instance/compute/userData?api-version=2021-01-01&format=text"

// Fetch gives the config of an Azure machine. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return fetch(ctx, newMedium(env, "udf"))
}

// FetchStack gives the config of an Azure Stack machine. None is an empty result.
func FetchStack(ctx context.Context, env *providers.Env) (providers.Result, error) {
	raw, err := newMedium(env, "udf", "iso9660").customData(ctx)
	return providers.Result{Raw: raw}, err
}

func fetch(ctx context.Context, m *medium) (providers.Result, error) {
	env := m.env
	if env.Fetcher.IsOffline() {
		return providers.Result{}, resource.ErrNeedNet
	}
	body, _, err := env.Fetcher.Bytes(ctx, env.Log, resource.Request{
		URL:     userData,
		Headers: http.Header{"Metadata": {"true"}},
		// All three mean that the service is not ready yet.
		RetryStatus: []int{http.StatusNotFound, http.StatusGone, http.StatusTooManyRequests},
	})
	switch status := providers.StatusOf(err); {
	case errors.Is(err, resource.ErrTimeout) && (status == http.StatusNotFound || status == http.StatusGone):
		env.Log.Warning("the metadata service has no user data and is not getting ready; looking once at the provisioning medium")
		raw, found, mediumErr := m.look(ctx)
		if mediumErr != nil || !found {
			return providers.Result{}, errors.Join(fmt.Errorf("fetching to buffer: %w", err), mediumErr)
		}
		return providers.Result{Raw: raw}, nil
	case err != nil:
		return providers.Result{}, fmt.Errorf("fetching to buffer: %w", err)
	case len(body) == 0:
		env.Log.Debug("failed to retrieve userdata from IMDS, falling back to custom data: %s", "there is none")
		raw, err := m.customData(ctx)
		return providers.Result{Raw: raw}, err
	}
	raw, err := base64.StdEncoding.DecodeString(string(body))
	if err != nil {
		return providers.Result{}, fmt.Errorf("decoding userdata: %w", err)
	}
	env.Log.Info("config has been read from IMDS userdata")
	return providers.Result{Raw: raw}, nil
}
