# Classes of hardware that a system can do without, and what of a kernel and of the firmware is theirs alone.
#
#   description  ends "…: " in the option's description
#   modules      directories of a kernel's modules, below lib/modules/VERSION/kernel
#   firmware     files of linux-firmware, as patterns of a shell's `case`, below lib/firmware
#   packages     packages of nixpkgs's redistributable firmware (hardware/all-firmware.nix) that are for this class alone
{
  audio = {
    description = "sound cards";
    modules = [
      "drivers/soundwire"
      "sound"
    ];
    firmware = [
      "cirrus/*"
      "ctefx*.bin"
      "ctspeq.bin"
      "ess/*"
      "intel/avs/*"
      "intel/catpt/*"
      "intel/dsp_fw_*"
      "intel/fw_sst_*"
      "intel/sof*"
      "korg/*"
      "sb16/*"
      "ti/audio/*"
      "ti/tas*"
      "yamaha/*"
    ];
    packages = [
      "alsa-firmware"
      "rt5677-firmware"
      "sof-firmware"
    ];
  };

  bluetooth = {
    description = "Bluetooth";
    modules = [
      "drivers/bluetooth"
      "net/bluetooth"
    ];
    firmware = [
      "ar3k/*"
      "brcm/BCM*.hcd"
      "intel/ibt-*"
      "mediatek/*BT_RAM*"
      "qca/*"
      "rtl_bt/*"
    ];
    packages = [ "rtl8761b-firmware" ];
  };

  clusters = {
    description = "file systems that the machines of a cluster share, and their own network protocols (AFS, Ceph, Coda, GFS2, OCFS2, OrangeFS, RDS, TIPC)";
    modules = [
      "fs/afs"
      "fs/ceph"
      "fs/coda"
      "fs/dlm"
      "fs/gfs2"
      "fs/ocfs2"
      "fs/orangefs"
      "net/ceph"
      "net/rds"
      "net/rxrpc"
      "net/tipc"
    ];
    firmware = [ ];
    packages = [ ];
  };

  gadgets = {
    description = "the machine as a USB device of another";
    modules = [ "drivers/usb/gadget" ];
    firmware = [ ];
    packages = [ ];
  };

  # What a board's management controller and a hypervisor show stays, and with it the console.
  graphics = {
    description = "the GPUs and NPUs of AMD, Intel and NVIDIA, and with them video encoding in hardware; the console stays";
    modules = [
      "drivers/accel"
      "drivers/gpu/drm/amd"
      "drivers/gpu/drm/i915"
      "drivers/gpu/drm/nouveau"
      "drivers/gpu/drm/radeon"
      "drivers/gpu/drm/xe"
    ];
    firmware = [
      "amdgpu/*"
      "amdnpu/*"
      "i915/*"
      "intel/vpu/*"
      "nvidia/*"
      "radeon/*"
      "xe/*"
    ];
    packages = [ ];
  };

  handheld = {
    description = "tablets and games: touchscreens, joysticks, sensor hubs, what only a Surface or a Chromebook has";
    modules = [
      "drivers/hid/amd-sfh-hid"
      "drivers/hid/intel-ish-hid"
      "drivers/hid/surface-hid"
      "drivers/input/gameport"
      "drivers/input/joystick"
      "drivers/input/tablet"
      "drivers/input/touchscreen"
      "drivers/platform/chrome"
      "drivers/platform/surface"
    ];
    firmware = [ "intel/ish/*" ];
    packages = [ ];
  };

  instruments = {
    description = "sensors and converters of laboratories and telephones (IIO, Comedi)";
    modules = [
      "drivers/comedi"
      "drivers/iio"
    ];
    firmware = [ ];
    packages = [ ];
  };

  legacy = {
    description = "FireWire, ISDN, ATM, amateur radio, CAN, memory chips without a controller (MTD) and their file systems";
    modules = [
      "drivers/atm"
      "drivers/firewire"
      "drivers/isdn"
      "drivers/mtd"
      "drivers/net/can"
      "drivers/net/hamradio"
      "fs/jffs2"
      "fs/ubifs"
      "net/atm"
      "net/ax25"
      "net/can"
      "net/netrom"
      "net/rose"
    ];
    firmware = [ ];
    packages = [ ];
  };

  media = {
    description = "cameras, TV tuners and capture cards";
    modules = [ "drivers/media" ];
    firmware = [
      "as102_*"
      "av7110/*"
      "cpia2/*"
      "dvb-*"
      "go7007/*"
      "intel/ipu/*"
      "intel/ipu3-*"
      "intel/irci_*"
      "lgs8g75.fw"
      "sms1xxx-*"
      "tlg2300*"
      "ttusb-budget/*"
      "v4l-*"
      "vicam/*"
    ];
    packages = [ "libreelec-dvb-firmware" ];
  };

  radio = {
    description = "NFC, 802.15.4 (Zigbee, Thread), B.A.T.M.A.N. meshes";
    modules = [
      "drivers/net/ieee802154"
      "drivers/nfc"
      "net/6lowpan"
      "net/batman-adv"
      "net/ieee802154"
      "net/mac802154"
      "net/nfc"
    ];
    firmware = [ ];
    packages = [ ];
  };

  rdma = {
    description = "InfiniBand and RDMA; a network card that has both stays one for Ethernet";
    modules = [ "drivers/infiniband" ];
    firmware = [ "hfi1_*" ];
    packages = [ ];
  };

  san = {
    description = "host adapters for Fibre Channel and iSCSI, and the machine as a target; iSCSI in software stays";
    modules = [
      "drivers/scsi/be2iscsi"
      "drivers/scsi/bfa"
      "drivers/scsi/bnx2fc"
      "drivers/scsi/bnx2i"
      "drivers/scsi/csiostor"
      "drivers/scsi/cxgbi"
      "drivers/scsi/fcoe"
      "drivers/scsi/fnic"
      "drivers/scsi/libfc"
      "drivers/scsi/lpfc"
      "drivers/scsi/qedf"
      "drivers/scsi/qedi"
      "drivers/scsi/qla2xxx"
      "drivers/scsi/qla4xxx"
      "drivers/scsi/snic"
      "drivers/target"
    ];
    firmware = [
      "cbfw-*"
      "ql2*_fw.bin"
      "ql8*_fw.bin"
    ];
    packages = [ ];
  };

  staging = {
    description = "drivers that the kernel's developers have not accepted yet";
    modules = [ "drivers/staging" ];
    firmware = [ ];
    packages = [ ];
  };

  wireless = {
    description = "Wi-Fi and modems";
    modules = [
      "drivers/net/wireless"
      "drivers/net/wwan"
      "net/mac80211"
      "net/wireless"
    ];
    firmware = [
      "ath10k/*"
      "ath11k/*"
      "ath12k/*"
      "ath6k/*"
      "ath9k_htc/*"
      "brcm/brcmfmac*"
      "brcm/brcmsmac*"
      "carl9170*"
      "cypress/*"
      "htc_*"
      "intel/iwlwifi/*"
      "iwlwifi-*"
      "libertas/*"
      "mediatek/mt76*"
      "mediatek/mt79*/*"
      "mediatek/WIFI_*"
      "mrvl/*"
      "mt7*"
      "mwl8k/*"
      "nxp/*"
      "rsi/*"
      "rsi_*"
      "rt2[5678]*.bin"
      "rt3*.bin"
      "rtlwifi/*"
      "rtw88/*"
      "rtw89/*"
      "ti-connectivity/*"
      "wfx/*"
      "wil6210*"
    ];
    packages = [
      "intel2200BGFirmware"
      "raspberrypiWirelessFirmware"
      "rtl8192su-firmware"
      "zd1211fw"
    ];
  };
}
