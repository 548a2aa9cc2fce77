#!/usr/bin/env bash
# Installs what the end-to-end tests drive: a Ceph RGW as origin, and the S3 clients AWS CLI, @aws-sdk/client-s3,
# PicGo and curl. What cannot be had here is skipped with its reason; the tests that need it skip likewise.
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

if [ "$(cat .lab/aws/.version 2>/dev/null)" != "$AWSCLI_VERSION" ]; then
  echo "setup-lab: installing AWS CLI $AWSCLI_VERSION"
  rm -rf .lab/aws
  if .venv/bin/python -m venv .lab/aws \
    && .lab/aws/bin/pip install --quiet --disable-pip-version-check "awscli==$AWSCLI_VERSION" > .lab/aws-pip.log 2>&1; then
    echo "$AWSCLI_VERSION" > .lab/aws/.version
  else
    skip "AWS CLI" "pip could not install it, see .lab/aws-pip.log"
  fi
fi

clients=tests/end_to_end/clients/package.json
if ! command -v npm >/dev/null; then
  skip "@aws-sdk/client-s3 and PicGo" "no npm here"
elif ! cmp -s "$clients" .lab/node/package.json || [ ! -f .lab/node/.installed ]; then
  echo "setup-lab: installing @aws-sdk/client-s3 and PicGo"
  mkdir -p .lab/node
  rm -f .lab/node/.installed
  cp "$clients" .lab/node/package.json
  if (cd .lab/node && npm install --no-audit --no-fund --no-package-lock --loglevel=error > ../npm.log 2>&1); then
    touch .lab/node/.installed
  else
    skip "@aws-sdk/client-s3 and PicGo" "npm failed, see .lab/npm.log"
  fi
fi
