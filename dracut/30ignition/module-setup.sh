#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The dracut module of Ignition. dracut calls these functions; an image asks for
# the module (add_dracutmodules+=" ignition "), it never is included by itself.
# shellcheck disable=SC2154 # moddir, systemdsystemunitdir, ... are dracut's

# have tells whether dracut has a module.
ignition_have_module() {
  compgen -G "${dracutbasedir:-/usr/lib/dracut}/modules.d/[0-9][0-9]$1" >/dev/null
}

check() {
  return 255
}

depends() {
  local module
  echo systemd systemd-initrd
  # Drivers of virtual machines, and what the disks stage makes, as far as there are tools for it.
  for module in qemu dm crypt mdraid btrfs systemd-networkd; do
    if ignition_have_module "$module" && ignition_module_has_tools "$module"; then
      echo "$module"
    fi
  done
  return 0
}

ignition_module_has_tools() {
  case $1 in
  dm) command -v dmsetup >/dev/null ;;
  crypt) command -v cryptsetup >/dev/null ;;
  mdraid) command -v mdadm >/dev/null ;;
  btrfs) command -v btrfs >/dev/null ;;
  esac
}

installkernel() {
  # Drivers that metadata is read through, and file systems; one that the kernel
  # has built in or lacks is no error.
  hostonly='' instmods -c qemu_fw_cfg hv_utils \
    vsock vmw_vsock_virtio_transport_common vmw_vsock_virtio_transport \
    virtio_net virtio_blk virtio_scsi virtio_console virtio_pci \
    vfat nls_ascii nls_cp437 nls_iso8859-1 ext4 xfs btrfs isofs udf sr_mod squashfs loop \
    dm-crypt dm-mod linear raid0 raid1 raid10 raid456 algif_skcipher xts
  case ${DRACUT_ARCH:-$(uname -m)} in
  s390x) hostonly='' instmods -c zcrypt_cex4 pkey_cca ;;
  aarch64) hostonly='' instmods -c mlxbf_bootctl ;;
  esac
}

install() {
  local unit

  inst_multiple basename lsblk mount umount systemctl journalctl udevadm
  # What the stages call. Those that the image lacks fail when a config wants them.
  inst_multiple -o \
    groupadd groupmod groupdel useradd userdel usermod \
    sgdisk partx blkid wipefs mkfs.ext4 mkfs.xfs mkfs.btrfs mkfs.fat mkswap \
    mdadm cryptsetup dmsetup modprobe mountpoint ip networkctl setfiles systemd-detect-virt \
    clevis clevis-decrypt clevis-decrypt-sss clevis-decrypt-tang clevis-decrypt-tpm2 \
    clevis-encrypt-sss clevis-encrypt-tang clevis-encrypt-tpm2 \
    clevis-luks-bind clevis-luks-common-functions clevis-luks-unlock clevis-luks-list clevis-luks-unbind \
    jose pwmake tpm2_create tpm2_createpolicy tpm2_createprimary tpm2_load tpm2_unseal tpm2_pcrread tpm2_pcrlist tpm2_flushcontext \
    bash sh curl cat cut grep sed head tail tr mktemp rm mkdir sleep sort luksmeta
  inst_libdir_file 'libtss2-tcti-device.so*'
  if [[ ${DRACUT_ARCH:-$(uname -m)} == s390x ]]; then
    inst_multiple chccwdev vmur zkey zkey-cryptsetup
    mkdir -p "$initdir/etc/luks"
    printf 'cex' >"$initdir/etc/luks/cex.key"
  fi
  # Certificates of servers, for the program itself and for curl.
  inst_multiple -o /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt

  inst_binary "$(ignition_binary)" /usr/bin/ignition
  ln_r /usr/bin/ignition /usr/sbin/ignition-kargs-helper
  inst_script "$moddir/ignition-generator" "$systemdutildir/system-generators/ignition-generator"

  # A crypt device without content would be hidden; the disks stage formats it.
  inst_rules 60-cdrom_id.rules 60-persistent-storage.rules 55-dm.rules 64-btrfs.rules
  inst_simple "$moddir/99-xx-ignition-systemd-cryptsetup.rules" /usr/lib/udev/rules.d/99-xx-ignition-systemd-cryptsetup.rules
  inst_simple "$moddir/pwquality-ignition.conf" /etc/security/pwquality.conf.d/ignition-luks.conf
  inst_simple "$moddir/zz-ignition-default.network" /usr/lib/systemd/network/zz-ignition-default.network

  for unit in "$moddir"/ignition-*.{service,target,path}; do
    inst_simple "$unit" "$systemdsystemunitdir/${unit##*/}"
  done
  for unit in "$moddir"/*.d/*.conf; do
    inst_simple "$unit" "$systemdsystemunitdir/${unit#"$moddir/"}"
  done
  for unit in setup fetch-offline enable-network fetch kargs disks mount files presets report; do
    ignition_require ignition-complete.target "ignition-$unit.service"
  done
  ignition_require ignition-diskful.target ignition-remount-sysroot.service
  mkdir -p "$initdir$systemdsystemunitdir/emergency.target.wants"
  ln_r "$systemdsystemunitdir/ignition-emergency.service" "$systemdsystemunitdir/emergency.target.wants/ignition-emergency.service"

  ignition_keep_network_down
}

# ignition_binary finds the program: beside this file, or where packages put it.
ignition_binary() {
  local name
  for name in "$moddir/ignition" /usr/bin/ignition; do
    if [[ -x $name ]]; then
      echo "$name"
      return 0
    fi
  done
  dfatal 'ignition: there is no program, neither beside the module nor in /usr/bin'
  return 1
}

# ignition_require links a unit to a target; one that is missing ends the build.
ignition_require() { # TARGET UNIT
  if [[ ! -e $initdir$systemdsystemunitdir/$2 ]]; then
    dfatal "ignition: the unit $2 is missing"
    exit 1
  fi
  mkdir -p "$initdir$systemdsystemunitdir/$1.requires"
  ln_r "$systemdsystemunitdir/$2" "$systemdsystemunitdir/$1.requires/$2"
}

# ignition_keep_network_down takes back that dracut enables networkd: its socket
# would start it at the first event of a network card, on every boot. It is
# started when a config needs it; for a root on the network and for rd.neednet
# the generator wants it.
ignition_keep_network_down() {
  local name
  for name in systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service; do
    rm -f "$initdir"{/etc,/usr/lib,/lib}/systemd/system/{*.wants,*.requires}/"$name"
  done
}
