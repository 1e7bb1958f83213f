// SPDX-License-Identifier: Apache-2.0

package oplog

import "time"

// Recorder appends one JSON line per finished operation to a file.
type Recorder struct{}

func (rec *Recorder) add(r *Running, end time.Time, err error) {}
