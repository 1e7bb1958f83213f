#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Drop-ins that fit the units of Ignition into the initramfs of Flatcar.
# shellcheck disable=SC2154 # moddir, initdir, ... are dracut's

check() {
  return 255
}

depends() {
  echo ignition
}

install() {
  local file to
  for file in "$moddir"/*.d/*.conf; do
    to=$systemdsystemunitdir/${file#"$moddir/"}
    rm -f "$initdir$to" # of the neutral module: dracut keeps what is there
    inst_simple "$file" "$to"
  done
}
