#!/bin/sh
# What a rented CPU pod runs on which Snakemake shall work: an ssh server for the key in $PUBLIC_KEY, where RunPod puts that of
# the account. It stays until the pod is stopped.
set -eu
: "${PUBLIC_KEY:?no public key: add one in the account settings of RunPod, then make the pod anew}"
umask 077
mkdir -p "$HOME/.ssh" /run/sshd
printf '%s\n' "$PUBLIC_KEY" >"$HOME/.ssh/authorized_keys"
chmod 755 /run/sshd
ssh-keygen -A # host keys of this pod: in the image, all who have it would have them
# What RunPod tells the container, its volume and data center among it, is told to who logs in as well; but not its key.
env | grep '^RUNPOD_' | grep -v '_KEY=' >"$HOME/.ssh/environment" || true
exec /usr/sbin/sshd -D -e -o PasswordAuthentication=no -o PermitRootLogin=prohibit-password -o PermitUserEnvironment=yes
