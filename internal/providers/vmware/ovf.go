// SPDX-License-Identifier: Apache-2.0

package vmware

import "firstboot.dev/ignition/internal/providers"

const ovfNamespace = "http://schemas.dmtf.org/ovf/environment/1"

// property is an element Property of the machine's own PropertySection, and where it stands in the text.
type property struct {
	key, value string
	start, end int
}

// properties lists the properties of an OVF environment, in the order of the text.
func properties(text string) (list []property, err error) {
	_, err = providers.ScanOVF(text, func(e providers.OVFElement) bool {
		// Root, section, property: those in an Entity are of other machines.
		if len(e.Path) == 3 && e.Path[1] == "PropertySection" && e.Path[2] == "Property" {
			list = append(list, property{e.Attribute(ovfNamespace, "key"), e.Attribute(ovfNamespace, "value"), e.Start, e.End})
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}
