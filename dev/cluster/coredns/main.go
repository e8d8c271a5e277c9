// The cluster's name server: CoreDNS with only the plug-ins that the node's Corefile names.
//
// Why not the whole of CoreDNS: its other plug-ins bring three cloud SDKs and double the time of the build.
//
// Invariant: a plug-in in the Corefile of lib/components.sh is imported here; a missing one ends CoreDNS at its start.
package main

import (
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() {
	coremain.Run()
}
