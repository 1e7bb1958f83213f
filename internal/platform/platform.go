// SPDX-License-Identifier: Apache-2.0

// Package platform knows which platforms there are and which one a machine is
// on. It holds the table of providers; what a provider does is its own room's
// business.
package platform

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/providers/akamai"
	"firstboot.dev/ignition/internal/providers/aliyun"
	"firstboot.dev/ignition/internal/providers/applehv"
	"firstboot.dev/ignition/internal/providers/aws"
	"firstboot.dev/ignition/internal/providers/azure"
	"firstboot.dev/ignition/internal/providers/cloudstack"
	"firstboot.dev/ignition/internal/providers/digitalocean"
	"firstboot.dev/ignition/internal/providers/exoscale"
	"firstboot.dev/ignition/internal/providers/file"
	"firstboot.dev/ignition/internal/providers/gcp"
	"firstboot.dev/ignition/internal/providers/hetzner"
	"firstboot.dev/ignition/internal/providers/hyperv"
	"firstboot.dev/ignition/internal/providers/ibmcloud"
	"firstboot.dev/ignition/internal/providers/kubevirt"
	"firstboot.dev/ignition/internal/providers/metal"
	"firstboot.dev/ignition/internal/providers/nutanix"
	"firstboot.dev/ignition/internal/providers/nvidiabluefield"
	"firstboot.dev/ignition/internal/providers/openstack"
	"firstboot.dev/ignition/internal/providers/oraclecloud"
	"firstboot.dev/ignition/internal/providers/outscale"
	"firstboot.dev/ignition/internal/providers/packet"
	"firstboot.dev/ignition/internal/providers/powervs"
	"firstboot.dev/ignition/internal/providers/proxmoxve"
	"firstboot.dev/ignition/internal/providers/qemu"
	"firstboot.dev/ignition/internal/providers/scaleway"
	"firstboot.dev/ignition/internal/providers/upcloud"
	"firstboot.dev/ignition/internal/providers/virtualbox"
	"firstboot.dev/ignition/internal/providers/vmware"
	"firstboot.dev/ignition/internal/providers/vultr"
	"firstboot.dev/ignition/internal/providers/zvm"
)

// table lists the platforms, sorted by id.
var table = []providers.Provider{
	{Name: "akamai", NeedsNetwork: true, Fetch: akamai.Fetch},
	{Name: "aliyun", NeedsNetwork: true, Fetch: aliyun.Fetch},
	{Name: "applehv", Fetch: applehv.Fetch},
	{Name: "aws", NeedsNetwork: true, Fetch: aws.Fetch, Cloud: aws.Cloud},
	{Name: "azure", NeedsNetwork: true, Fetch: azure.Fetch, Cloud: azure.Cloud},
	{Name: "azurestack", Fetch: azure.FetchStack},
	{Name: "brightbox", NeedsNetwork: true, Fetch: openstack.Fetch},
	{Name: "cloudstack", NeedsNetwork: true, Fetch: cloudstack.Fetch},
	{Name: "digitalocean", NeedsNetwork: true, Fetch: digitalocean.Fetch},
	{Name: "exoscale", NeedsNetwork: true, Fetch: exoscale.Fetch},
	{Name: "file", Fetch: file.Fetch},
	{Name: "gcp", NeedsNetwork: true, Fetch: gcp.Fetch, Cloud: gcp.Cloud},
	{Name: "hetzner", NeedsNetwork: true, Fetch: hetzner.Fetch},
	{Name: "hyperv", Fetch: hyperv.Fetch, Files: hyperv.Files},
	{Name: "ibmcloud", Fetch: ibmcloud.Fetch},
	{Name: "kubevirt", Fetch: kubevirt.Fetch},
	{Name: "metal", Fetch: metal.Fetch},
	{Name: "nutanix", Fetch: nutanix.Fetch},
	{Name: "nvidiabluefield", Fetch: nvidiabluefield.Fetch},
	{Name: "openstack", NeedsNetwork: true, Fetch: openstack.Fetch},
	{Name: "oraclecloud", NeedsNetwork: true, Fetch: oraclecloud.Fetch},
	{Name: "outscale", NeedsNetwork: true, Fetch: outscale.Fetch},
	{Name: "packet", NeedsNetwork: true, Fetch: packet.Fetch, Status: packet.Status},
	{Name: "powervs", Fetch: powervs.Fetch},
	{Name: "proxmoxve", Fetch: proxmoxve.Fetch},
	{Name: "qemu", Fetch: qemu.Fetch},
	{Name: "scaleway", NeedsNetwork: true, Fetch: scaleway.Fetch},
	{Name: "upcloud", NeedsNetwork: true, Fetch: upcloud.Fetch},
	{Name: "virtualbox", Fetch: virtualbox.Fetch, Delete: virtualbox.Delete},
	{Name: "vmware", Fetch: vmware.Fetch, Delete: vmware.Delete},
	{Name: "vultr", NeedsNetwork: true, Fetch: vultr.Fetch},
	{Name: "zvm", Fetch: zvm.Fetch},
}

// aliases are ids that images pass for a platform of another name. Those that
// lead to metal have no provider of their own and must not stop a boot.
var aliases = map[string]string{
	"ec2":                "aws",
	"gce":                "gcp",
	"pxe":                "metal",
	"cloudsigma":         "metal",
	"rackspace":          "metal",
	"rackspace-onmetal":  "metal",
	"interoute":          "metal",
	"niftycloud":         "metal",
	"vagrant-virtualbox": "virtualbox",
}

// Names lists the ids, sorted.
func Names() []string {
	var names []string
	for _, p := range table {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}

// Resolve finds a provider by id or alias. note says which id an alias led to.
func Resolve(id string) (p providers.Provider, name, note string, err error) {
	return resolve(id, guestDevice)
}

// guestDevice tells whether this is a VirtualBox guest with its driver loaded.
func guestDevice() bool {
	_, err := os.Stat("/dev/vboxguest")
	return err == nil
}

func resolve(id string, inVirtualBox func() bool) (providers.Provider, string, string, error) {
	name := id
	if to, ok := aliases[id]; ok {
		name = to
	}
	if id == "vagrant" {
		// Its boxes have the config in a guest property, but it must boot elsewhere too.
		name = "metal"
		if _, ok := lookup("virtualbox"); ok && inVirtualBox() {
			name = "virtualbox"
		}
	}
	p, ok := lookup(name)
	if !ok {
		return providers.Provider{}, "", "", fmt.Errorf("%s is not a valid platform", id)
	}
	note := ""
	if name != id {
		note = fmt.Sprintf("platform %q is handled as %q", id, name)
	}
	return p, name, note, nil
}

func lookup(name string) (providers.Provider, bool) {
	i := slices.IndexFunc(table, func(p providers.Provider) bool { return p.Name == name })
	if i < 0 {
		return providers.Provider{}, false
	}
	return table[i], true
}

// ParseCommandLine splits a kernel command line at white space, and each word
// at its first "=". Words without one are left out; quotes mean nothing.
func ParseCommandLine(raw string) []providers.Arg {
	var args []providers.Arg
	for word := range strings.FieldsSeq(raw) {
		if key, value, ok := strings.Cut(word, "="); ok {
			args = append(args, providers.Arg{Key: key, Value: value})
		}
	}
	return args
}

func last(args []providers.Arg, key string) (string, bool) {
	for i := len(args) - 1; i >= 0; i-- {
		if args[i].Key == key {
			return args[i].Value, true
		}
	}
	return "", false
}

// Named tells whether a command line names a platform, or is one of a system
// where naming none means a default.
func Named(args []providers.Arg) bool {
	for _, key := range []string{"ignition.platform.id", "flatcar.oem.id", "coreos.oem.id"} {
		if v, ok := last(args, key); ok && v != "" {
			return true
		}
	}
	for _, key := range []string{"flatcar.first_boot", "coreos.first_boot"} {
		if _, ok := last(args, key); ok {
			return true
		}
	}
	return false
}

// FromCommandLine gives the id that a command line names. virt tells what
// systemd-detect-virt prints; it is asked only for Flatcar's arguments.
func FromCommandLine(args []providers.Arg, virt func() string) string {
	if id, ok := last(args, "ignition.platform.id"); ok && id != "" {
		return id
	}
	fallback := "metal"
	if v := virt(); v == "kvm" || v == "qemu" {
		fallback = "qemu"
	}
	id, ok := last(args, "flatcar.oem.id")
	if !ok || id == "" {
		id = fallback
	}
	if id == fallback {
		if old, ok := last(args, "coreos.oem.id"); ok && old != "" {
			id = old
		}
	}
	return id
}
