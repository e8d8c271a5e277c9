# What the components read: configuration files, certificates, kubeconfigs, the pool of volumes. Sourced, never run.
# shellcheck shell=bash

write_configs() {
  local config=$STATE/config
  mkdir -p "$config/cni"
  # ptp and not a bridge: what two pods say to each other passes the node's routing, so Service addresses work between
  # pods of one node without the kernel's bridge filter.
  cat >"$config/cni/10-rag.conflist" <<E
{"cniVersion": "0.4.0", "name": "$CNI_NAME", "plugins": [
  {"type": "ptp", "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "$STATE/cni", "ranges": [[{"subnet": "$POD_ADDRESSES"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}}]}
E
  # restrict_oom_score_adj: root in a container may lack CAP_SYS_RESOURCE; runc then dies of a negative score.
  cat >"$config/containerd.toml" <<E
version = 2
root = "$STATE/containerd"
state = "$STATE/run/containerd"
[grpc]
  address = "$STATE/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$STATE/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  disable_tcp_service = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$config/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "$STATE/run/runc"
E
  # The thresholds: a disk that others have filled must neither evict our pods nor remove our images, which no registry
  # has. 100 turns the collection of images off.
  cat >"$config/kubelet.yaml" <<E
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $STATE/pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$CONTROL_GROUP
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
containerRuntimeEndpoint: unix://$STATE/run/containerd.sock
podLogsDir: $STATE/logs/pods
volumePluginDir: $STATE/kubelet/plug-ins
podCIDR: $POD_ADDRESSES
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: ""
maxPods: 600
kubeAPIQPS: 500
kubeAPIBurst: 1000
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}
E
  cat >"$config/proxy.yaml" <<E
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $STATE/pki/proxy.conf}
clusterCIDR: $POD_ADDRESSES
hostnameOverride: $NODE
bindAddress: $NODE_ADDRESS
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}
E
  # No cache: a name that a test has just made must be found, and one that it has removed must not.
  cat >"$config/Corefile" <<E
.:53 {
  bind $NODE_ADDRESS
  errors
  ready 127.0.0.1:8181
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $STATE/pki/coredns.conf
    ttl 1
  }
}
E
  cat >"$config/traefik.yaml" <<E
entryPoints:
  web: {address: ":8000"}
  traefik: {address: "127.0.0.1:8080"}
providers:
  providersThrottleDuration: 100ms
  kubernetesGateway: {statusAddress: {ip: $NODE_ADDRESS}}
ping: {}
log: {level: INFO, noColor: true}
global: {checkNewVersion: false, sendAnonymousUsage: false}
E
}

# make_certificates makes the authority and what it signs: the API server's certificate and one kubeconfig per client.
make_certificates() {
  local pki=$STATE/pki names="DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
  mkdir -p "$pki"
  chmod 700 "$pki"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$pki/ca.key" -out "$pki/ca.crt" -subj /CN=rag-ca -days 30
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$pki/tokens.key"
  openssl pkey -in "$pki/tokens.key" -pubout -out "$pki/tokens.pub"
  certificate apiserver /CN=kube-apiserver \
    "subjectAltName=IP:127.0.0.1,IP:$NODE_ADDRESS,IP:10.96.0.1,$names,DNS:kubernetes.default.svc.cluster.local"
  certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
  kubeconfig admin /O=system:masters/CN=admin
  kubeconfig controller-manager /CN=system:kube-controller-manager
  kubeconfig scheduler /CN=system:kube-scheduler
  kubeconfig kubelet "/O=system:nodes/CN=system:node:$NODE"
  kubeconfig proxy /CN=system:kube-proxy
  kubeconfig coredns /O=system:masters/CN=coredns
  kubeconfig traefik /O=system:masters/CN=traefik
  kubeconfig recycler /O=system:masters/CN=recycler
}

openssl() { command openssl "$@" 2>>"$STATE/logs/openssl.log" || fail openssl "could not make a certificate"; }

certificate() {
  local file=$STATE/pki/$1 subject=$2 extension=${3:-basicConstraints=CA:FALSE}
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$file.key" -out "$file.csr" -subj "$subject"
  openssl x509 -req -in "$file.csr" -CA "$STATE/pki/ca.crt" -CAkey "$STATE/pki/ca.key" -CAcreateserial \
    -out "$file.crt" -days 30 -extfile <(printf '%s\n' "$extension")
  rm "$file.csr"
}

kubeconfig() {
  local name=$1 subject=$2 pki=$STATE/pki
  certificate "$name" "$subject"
  # The certificates themselves and not their files' names: the kubeconfig can be copied elsewhere.
  cat >"$pki/$name.conf" <<E
apiVersion: v1
kind: Config
clusters:
  - {name: rag, cluster: {server: "https://$NODE_ADDRESS:6443", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}
users:
  - {name: $name, user: {client-certificate-data: $(base64 -w0 "$pki/$name.crt"), client-key-data: $(base64 -w0 "$pki/$name.key")}}
contexts:
  - {name: rag, context: {cluster: rag, user: $name}}
current-context: rag
E
}

# volumes prints the pool of persistent volumes.
volumes() {
  local number
  for ((number = 1; number <= VOLUMES; number++)); do
    cat <<E
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: local-$number}
spec:
  capacity: {storage: 100Gi}
  accessModes: [ReadWriteOnce, ReadOnlyMany, ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: local
  local: {path: $STATE/volumes/$number}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$NODE]}]}]}}
E
  done
}
