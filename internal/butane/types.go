// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"reflect"

	"firstboot.dev/ignition/internal/config"
)

// Butane's own keys, in types that stand beside those of package config and bear the same tags. Names are in
// camel case as there; a document has them in snake case.

// rootKeys belong to the document. That of a variant only are gated in dialect.owns.
type rootKeys struct {
	Variant    string      `json:"variant"`
	Version    string      `json:"version"`
	BootDevice bootDevice  `json:"bootDevice"`
	Grub       grub        `json:"grub"`
	Metadata   metadata    `json:"metadata"`
	OpenShift  machineKeys `json:"openshift"`
}

type resourceKeys struct {
	Inline *string `json:"inline"`
	Local  *string `json:"local" since:"3.1"`
}

type userKeys struct {
	SSHAuthorizedKeysLocal []string `json:"sshAuthorizedKeysLocal" since:"3.4"`
}

type filesystemKeys struct {
	WithMountUnit *bool `json:"withMountUnit" since:"3.1"`
}

// contentsKeys belong to units and their drop-ins.
type contentsKeys struct {
	ContentsLocal *string `json:"contentsLocal" since:"3.4"`
}

type storageKeys struct {
	Trees []localTree `json:"trees" since:"3.1"`
}

type systemdKeys struct {
	Quadlets []quadlet `json:"quadlets" since:"3.7"`
}

type localTree struct {
	Local    string           `json:"local"`
	Path     string           `json:"path"`
	User     config.NodeOwner `json:"user" since:"3.6"`
	Group    config.NodeOwner `json:"group" since:"3.6"`
	FileMode *int             `json:"fileMode" since:"3.6"`
	DirMode  *int             `json:"dirMode" since:"3.6"`
}

type quadlet struct {
	Name          string          `json:"name"`
	Rootful       *bool           `json:"rootful"`
	Contents      *string         `json:"contents"`
	ContentsLocal *string         `json:"contentsLocal"`
	Dropins       []quadletDropin `json:"dropins"`
}

type quadletDropin struct {
	Name          string  `json:"name"`
	Contents      *string `json:"contents"`
	ContentsLocal *string `json:"contentsLocal"`
}

type bootDevice struct {
	Layout *string    `json:"layout"`
	LUKS   bootLUKS   `json:"luks"`
	Mirror bootMirror `json:"mirror"`
}

type bootLUKS struct {
	Tang      []config.Tang `json:"tang"`
	Threshold *int          `json:"threshold"`
	TPM2      *bool         `json:"tpm2"`
	Discard   *bool         `json:"discard" since:"3.4"`
	Device    *string       `json:"device" since:"3.5"`
	CEX       config.CEX    `json:"cex" since:"3.5"`
}

type bootMirror struct {
	Devices []string `json:"devices"`
}

type grub struct {
	Users []grubUser `json:"users"`
}

type grubUser struct {
	Name         string `json:"name"`
	PasswordHash string `json:"passwordHash"`
}

type metadata struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
}

type machineKeys struct {
	Extensions      []string `json:"extensions"`
	FIPS            *bool    `json:"fips"`
	KernelArguments []string `json:"kernelArguments"`
	KernelType      *string  `json:"kernelType"`
}

// ownKeys lists which types of a config have keys of Butane's own, and the type that holds them.
var ownKeys = map[reflect.Type]reflect.Type{
	reflect.TypeFor[config.Config]():     reflect.TypeFor[rootKeys](),
	reflect.TypeFor[config.Resource]():   reflect.TypeFor[resourceKeys](),
	reflect.TypeFor[config.User]():       reflect.TypeFor[userKeys](),
	reflect.TypeFor[config.Filesystem](): reflect.TypeFor[filesystemKeys](),
	reflect.TypeFor[config.Unit]():       reflect.TypeFor[contentsKeys](),
	reflect.TypeFor[config.Dropin]():     reflect.TypeFor[contentsKeys](),
	reflect.TypeFor[config.Storage]():    reflect.TypeFor[storageKeys](),
	reflect.TypeFor[config.Systemd]():    reflect.TypeFor[systemdKeys](),
}

// sugar holds Butane's own keys by the address of the object that they stand in.
type sugar map[any]any

// own gives Butane's own keys of an object; without any, the zero value.
func own[T any](s sugar, object any) *T {
	if keys, ok := s[object].(*T); ok {
		return keys
	}
	return new(T)
}

// value is what a pointer points to, or zero.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func ptr[T any](v T) *T { return &v }
