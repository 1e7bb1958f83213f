// SPDX-License-Identifier: Apache-2.0

package vmware

import "testing"

// TestIsVMware checks what must be so before the port is touched.
func TestIsVMware(t *testing.T) {
	const inside, vmwa, revm, ware = 1 << 31, 0x61774d56, 0x4d566572, 0x65726177
	for _, row := range []struct {
		name                 string
		features, bx, cx, dx uint32
		want                 bool
	}{
		{"VMware", inside, vmwa, revm, ware, true},
		{"no hypervisor, though the signature is left over", 0, vmwa, revm, ware, false},
		{"KVM", inside, 0x4b4d564b, 0x564b4d56, 0x4d, false},
		{"nearly VMware", inside, vmwa, revm, 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			asked := 0
			got := isVMware(func(leaf uint32) (uint32, uint32, uint32, uint32) {
				asked++
				switch leaf {
				case 1:
					return 0, 0, row.features, 0
				case 0x40000000:
					return 0x40000010, row.bx, row.cx, row.dx
				}
				t.Errorf("leaf %#x", leaf)
				return 0, 0, 0, 0
			})
			if got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
			if row.features == 0 && asked != 1 {
				t.Error("the hypervisor's leaf was asked for where there is none")
			}
		})
	}
}

// TestAssembly checks the two routines on this machine: the processor names its
// maker, and a read of a port that this process may not read is survived.
func TestAssembly(t *testing.T) {
	most, b, c, d := cpuid(0)
	var name []byte
	for _, r := range []uint32{b, d, c} {
		name = append(name, byte(r), byte(r>>8), byte(r>>16), byte(r>>24))
	}
	if most == 0 || len(name) != 12 || name[0] < ' ' || name[0] > '~' {
		t.Errorf("cpuid says %d, %q", most, name)
	}
	if isVMware(cpuid) {
		t.Skip("the port answers here")
	}
	if knock(in) {
		t.Error("the port answers, but the processor is none of VMware's")
	}
	if _, ok := openHost(); ok {
		t.Error("a host was opened")
	}
}
