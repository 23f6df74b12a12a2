#!/bin/busybox sh
# First process of the guest, out of the initial RAM disk: mounts the two disks (Debian; the checkout's build, read-only)
# and what Linux itself offers, then lets the kernel's command line choose: systemd, a shell, or the cases at once.
b=/bin/busybox
$b mount -t proc proc /proc
read -r words </proc/cmdline
boot=plain
for word in $words; do case $word in lab.boot=*) boot=${word#*=} ;; esac; done
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "/modules/$module"; done </modules/order
[ "$boot" != trial ] || { echo "user space" >/dev/ttyS1; $b poweroff -f; }
tries=0
until [ -b /dev/vdb ] || [ $tries = 100 ]; do $b sleep 0.05; tries=$((tries + 1)); done
$b mount -t ext4 /dev/vda /root && $b mount -t ext4 -o ro /dev/vdb /root/mlshim || $b poweroff -f
[ "$boot" != systemd ] || exec $b switch_root /root /lib/systemd/systemd
$b mount --move /proc /root/proc
$b mount --move /dev /root/dev
$b mount -t sysfs sys /root/sys
$b mkdir /root/dev/pts /root/dev/shm
$b mount -t devpts pts /root/dev/pts
for dir in dev/shm run tmp; do $b mount -t tmpfs tmp "/root/$dir"; done
$b mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
$b mount -t bpf bpf /root/sys/fs/bpf
$b hostname guest
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8
ulimit -Hn 524288
run='node /mlshim/build/test/lab/guest/main.js'
[ "$boot" != shell ] || run='bash -l'
# The shell stays process 1 and so reaps what daemons leave to it.
exec $b switch_root /root /usr/bin/busybox sh -c "ip link set lo up; cd /root; $run; sync; busybox poweroff -f"
