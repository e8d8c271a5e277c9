# The components: what each is started with, and when it is well. Sourced, never run.
#
# Invariants:
#   - Every command line contains the state folder: lib/process.sh knows its own processes by that.
#   - Everything a component writes lies in the state folder. Where a component insists on another place, lib/node.sh
#     removes it.
# shellcheck shell=bash

# In the order of their start.
COMPONENTS=(etcd apiserver containerd controller-manager scheduler kubelet proxy coredns traefik recycler)

# command_of sets ARGV to a component's command line.
command_of() {
  local pki=$STATE/pki config=$STATE/config
  case $1 in
    etcd)
      # No fsync: the state does not outlive the machine anyway.
      ARGV=("$BIN/kube" etcd --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
        --listen-peer-urls http://127.0.0.1:2380)
      ;;
    apiserver)
      ARGV=("$BIN/kube" apiserver --etcd-servers=http://127.0.0.1:2379
        --bind-address=0.0.0.0 --advertise-address="$NODE_ADDRESS" --secure-port=6443
        --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --cert-dir="$pki/self-signed"
        --client-ca-file="$pki/ca.crt" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/tokens.pub"
        --service-account-signing-key-file="$pki/tokens.key"
        --service-cluster-ip-range="$SERVICE_ADDRESSES" --allow-privileged=true
        --kubelet-preferred-address-types=InternalIP --shutdown-watch-termination-grace-period=1s
        --kubelet-client-certificate="$pki/apiserver-kubelet.crt" --kubelet-client-key="$pki/apiserver-kubelet.key"
        # At most 600 MB: the file and two older ones.
        --audit-policy-file="$HERE/manifests/audit.yaml" --audit-log-path="$AUDIT_LOG"
        --audit-log-maxsize=200 --audit-log-maxbackup=2)
      ;;
    containerd) ARGV=(containerd -c "$config/containerd.toml") ;;
    controller-manager)
      # The default of 20 requests a second would measure this client, not the operator.
      ARGV=("$BIN/kube" controller-manager --kubeconfig="$pki/controller-manager.conf" --leader-elect=false
        --bind-address=127.0.0.1 --kube-api-qps=1000 --kube-api-burst=2000 --use-service-account-credentials=true
        --flex-volume-plugin-dir="$STATE/kubelet/plug-ins"
        --service-account-private-key-file="$pki/tokens.key" --root-ca-file="$pki/ca.crt"
        --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key")
      ;;
    scheduler)
      ARGV=("$BIN/kube" scheduler --kubeconfig="$pki/scheduler.conf" --leader-elect=false --bind-address=127.0.0.1
        --kube-api-qps=1000 --kube-api-burst=2000)
      ;;
    kubelet)
      ARGV=("$BIN/kube" kubelet --config="$config/kubelet.yaml" --kubeconfig="$pki/kubelet.conf"
        --root-dir="$STATE/kubelet" --cert-dir="$STATE/kubelet/pki" --hostname-override="$NODE" --node-ip="$NODE_ADDRESS")
      ;;
    proxy) ARGV=("$BIN/kube" proxy --config="$config/proxy.yaml") ;;
    coredns) ARGV=("$BIN/coredns" -conf "$config/Corefile") ;;
    traefik) ARGV=("$BIN/traefik" --configFile="$config/traefik.yaml") ;;
    recycler) ARGV=("$BIN/kube" recycle "$pki/recycler.conf" local "$STATE/volumes" "$STATE/kubelet") ;;
  esac
}

# well holds when a component answers that it is well.
well() {
  runs "$1" || return 1
  case $1 in
    etcd) ask http://127.0.0.1:2379/health ;;
    apiserver) ask "https://$NODE_ADDRESS:6443/readyz" ;;
    containerd) ctr version ;;
    controller-manager) ask https://127.0.0.1:10257/healthz ;;
    scheduler) ask https://127.0.0.1:10259/healthz ;;
    kubelet) ask http://127.0.0.1:10248/healthz ;;
    proxy) ask http://127.0.0.1:10256/livez ;;
    coredns) ask http://127.0.0.1:8181/ready ;;
    traefik) ask http://127.0.0.1:8080/ping ;;
    recycler) ;;
  esac
}

# ask requests a URL in the node's network. Unverified: it proves that something answers there, nothing else.
ask() { inside curl --silent --insecure --fail --max-time 2 --noproxy '*' --output /dev/null "$1"; }

inside() { nsenter --net="/run/netns/$NETWORK" "$@"; }

# ctr asks containerd, which may be frozen: the wait ends after five minutes, enough for a large image.
ctr() { timeout 300 ctr --address "$STATE/run/containerd.sock" --namespace k8s.io "$@"; }

kubectl() { KUBECONFIG=$STATE/pki/admin.conf KUBECACHEDIR=$STATE/kubectl "$BIN/kubectl" "$@"; }

# begin_component starts a component; wait_well waits until it answers, for a minute at most.
begin_component() {
  command_of "$1"
  launch "$1"
}

wait_well() {
  wait_until 60 well_or_ended "$1" || fail "$1" "is not well after a minute"
  runs "$1" || fail "$1" "has ended"
}

well_or_ended() { ended "$1" || well "$1"; }
