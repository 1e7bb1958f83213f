// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/providers"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	defaultRegion = "us-east-1"
	answerTimeout = 15 * time.Second
)

// Metadata asks the metadata service for what signed fetches need. Nothing is
// asked before a method is called.
type Metadata struct {
	env     *providers.Env
	clients []*imds.Client // best first
}

// NewMetadata prepares clients for the endpoints that user data comes from.
func NewMetadata(env *providers.Env) *Metadata {
	m := &Metadata{env: env}
	c := client{env: env, v4: endpointIPv4, v6: endpointIPv6}
	for _, endpoint := range c.endpoints() {
		m.clients = append(m.clients, imds.New(imds.Options{
			Endpoint: endpoint,
			// The environment is no source of settings: neither for this nor for proxies.
			ClientEnableState: imds.ClientEnabled,
			HTTPClient:        awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.Proxy = nil }),
		}))
	}
	return m
}

// ask calls f with each client until one gets an answer, be it a refusal. Each
// has its share of the time.
func (m *Metadata) ask(ctx context.Context, f func(context.Context, *imds.Client) error) error {
	var first error
	for _, c := range m.clients {
		share, cancel := context.WithTimeout(ctx, answerTimeout/time.Duration(len(m.clients)))
		err := f(share, c)
		cancel()
		var refused *smithyhttp.ResponseError
		if err == nil || errors.As(err, &refused) && refused.HTTPStatusCode() != 0 {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// Region gives the instance's region, or us-east-1 with a warning.
func (m *Metadata) Region(ctx context.Context) string {
	var region string
	err := m.ask(ctx, func(ctx context.Context, c *imds.Client) error {
		out, err := c.GetRegion(ctx, &imds.GetRegionInput{})
		if err == nil {
			region = out.Region
		}
		return err
	})
	if err == nil && region == "" {
		err = errors.New("the identity document names none")
	}
	if err != nil {
		m.env.Log.Warning("failed to determine EC2 region, falling back to default %s: %v", defaultRegion, err)
		return defaultRegion
	}
	return region
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
		return Credentials{}, errors.New("no EC2 IMDS role: the instance has none")
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
	var raw []byte
	err := m.ask(ctx, func(ctx context.Context, c *imds.Client) error {
		out, err := c.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
		if err != nil {
			return err
		}
		defer out.Content.Close()
		raw, err = io.ReadAll(io.LimitReader(out.Content, 1<<20))
		return err
	})
	return raw, err
}
