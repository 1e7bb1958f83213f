// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const (
	defaultRegion = "us-east-1"
	regionTime    = 15 * time.Second

	documentPath = "/latest/dynamic/instance-identity/document"
	rolePath     = "/latest/meta-data/iam/security-credentials/"
)

// Cloud gives what S3 needs of the metadata service. Nothing is asked before a
// fetch from S3 needs it.
func Cloud(env *providers.Env) resource.Cloud {
	m := &metadata{client: client{env: env, head: providers.HeadStart, v4: endpointIPv4, v6: endpointIPv6}}
	return resource.Cloud{Region: m.region, AWS: m.credentials}
}

// metadata is the service beside the user data. It asks for one session token.
type metadata struct {
	mu     sync.Mutex
	client client
}

func (m *metadata) get(ctx context.Context, log resource.Log, path string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	env := *m.client.env
	env.Log = log
	m.client.env = &env
	return m.client.document(ctx, path)
}

// region gives the instance's region, or us-east-1 with a warning.
func (m *metadata) region(ctx context.Context, log resource.Log) string {
	ctx, cancel := context.WithTimeout(ctx, regionTime)
	defer cancel()
	raw, err := m.get(ctx, log, documentPath)
	var document struct {
		Region string `json:"region"`
	}
	if err == nil && json.Unmarshal(raw, &document) != nil {
		err = errors.New("the identity document is not JSON")
	}
	if err == nil && document.Region == "" {
		err = errors.New("the identity document names none")
	}
	if err != nil {
		log.Warning("failed to determine EC2 region, falling back to default %s: %v", defaultRegion, err)
		return defaultRegion
	}
	return document.Region
}

// credentials gives those of the instance's role.
func (m *metadata) credentials(ctx context.Context, log resource.Log) (resource.AWSCredentials, error) {
	none := resource.AWSCredentials{}
	role, err := m.get(ctx, log, rolePath)
	switch {
	case errors.Is(err, resource.ErrNotFound):
		return none, fmt.Errorf("no EC2 IMDS role: %w", resource.ErrNoIdentity)
	case providers.StatusOf(err) == http.StatusForbidden: // turned off
		return none, fmt.Errorf("no EC2 IMDS role: %w (%v)", resource.ErrNoIdentity, err)
	case err != nil:
		return none, fmt.Errorf("no EC2 IMDS role: %w", err)
	}
	name, _, _ := strings.Cut(strings.TrimSpace(string(role)), "\n")
	if name == "" {
		return none, fmt.Errorf("no EC2 IMDS role: %w", resource.ErrNoIdentity)
	}
	raw, err := m.get(ctx, log, rolePath+name)
	if err != nil {
		return none, fmt.Errorf("credentials of role %q: %w", name, err)
	}
	var out struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		Token           string
		Expiration      time.Time
		Code            string
	}
	switch {
	case json.Unmarshal(raw, &out) != nil:
		return none, fmt.Errorf("credentials of role %q are not JSON", name)
	case out.Code != "" && out.Code != "Success":
		return none, fmt.Errorf("credentials of role %q: the metadata service says %q", name, out.Code)
	case out.AccessKeyID == "" || out.SecretAccessKey == "":
		return none, fmt.Errorf("credentials of role %q are incomplete", name)
	}
	return resource.AWSCredentials{AccessKeyID: out.AccessKeyID, SecretAccessKey: out.SecretAccessKey, Token: out.Token, Expires: out.Expiration}, nil
}
