// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

const (
	defaultRegion = "us-east-1"
	regionTimeout = 15 * time.Second
)

// Metadata asks the metadata service for what signed fetches need. Nothing is
// asked before a method is called.
type Metadata struct {
	env    *providers.Env
	client *imds.Client
}

// NewMetadata prepares a client for the endpoint that env names.
func NewMetadata(env *providers.Env) *Metadata {
	o := imds.Options{Endpoint: strings.TrimRight(env.IMDSEndpoint, "/")}
	if strings.EqualFold(env.IMDSMode, "IPv6") {
		o.EndpointMode = imds.EndpointModeStateIPv6
	}
	return &Metadata{env: env, client: imds.New(o)}
}

// Region gives the instance's region, or us-east-1 with a warning.
func (m *Metadata) Region(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, regionTimeout)
	defer cancel()
	out, err := m.client.GetRegion(ctx, &imds.GetRegionInput{})
	if err == nil && out.Region != "" {
		return out.Region
	}
	if err == nil {
		err = fmt.Errorf("the identity document names none")
	}
	m.env.Log.Warning("failed to determine EC2 region, falling back to default %s: %v", defaultRegion, err)
	return defaultRegion
}

// Credentials are those of the instance's role. Their text never reaches a log.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	Token           string
	Expiration      time.Time
}

// Credentials gives the credentials of the instance's role.
func (m *Metadata) Credentials(ctx context.Context) (Credentials, error) {
	const list = "iam/security-credentials/"
	role, err := m.read(ctx, list)
	if err != nil {
		return Credentials{}, fmt.Errorf("no EC2 IMDS role: %w", err)
	}
	name, _, _ := strings.Cut(strings.TrimSpace(string(role)), "\n")
	if name == "" {
		return Credentials{}, fmt.Errorf("no EC2 IMDS role: the instance has none")
	}
	raw, err := m.read(ctx, list+name)
	if err != nil {
		return Credentials{}, fmt.Errorf("credentials of role %q: %w", name, err)
	}
	var out struct {
		Credentials
		Code string
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return Credentials{}, fmt.Errorf("credentials of role %q are not JSON", name)
	}
	if out.Code != "" && out.Code != "Success" {
		return Credentials{}, fmt.Errorf("credentials of role %q: the metadata service says %q", name, out.Code)
	}
	if out.AccessKeyID == "" || out.SecretAccessKey == "" {
		return Credentials{}, fmt.Errorf("credentials of role %q are incomplete", name)
	}
	return out.Credentials, nil
}

func (m *Metadata) read(ctx context.Context, path string) ([]byte, error) {
	out, err := m.client.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if err != nil {
		return nil, err
	}
	defer out.Content.Close()
	return io.ReadAll(io.LimitReader(out.Content, 1<<20))
}
