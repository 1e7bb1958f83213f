// SPDX-License-Identifier: Apache-2.0

// Package block knows block devices: their partition tables and what sgdisk
// would make of them, who uses them, what a probe finds on them, the kernel's
// view of their partitions, the links to them that stay while udev works, and
// how to wait for them. It reads by itself and through blkid, and changes
// nothing but the kernel's view. It knows no config: what should be on a
// device is the disks stage's business.
package block
