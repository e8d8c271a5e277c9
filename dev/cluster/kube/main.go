// Kube is a whole single-node Kubernetes in one program: each subcommand is one component, kubectl included.
//
// Why one program: the components share most of their code, so one link costs 145 MB where seven would cost 600, and
// one build takes the time of the largest. Two subcommands are the project's own: "image" writes an image archive of a
// static program, "recycle" re-offers used volumes.
//
// Invariants:
//   - A component sees its own name and arguments only: os.Args is as if it were a program of its own.
//   - The version comes from the linker (-X, see lib/parts.sh); without it the API server calls itself v0.0.0.
//   - Go 1.26 builds it. With Go 1.27 the API server of Kubernetes 1.36 serves a broken OpenAPI v2 document.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// exitUsage is the exit code of a wrong command line, as sysexits has it.
const exitUsage = 64

// components holds the components that are commands of cobra: the name each has as a program of its own, which is also
// how the audit log names its requests, and how it is made. Made only when asked for: making one registers flags and
// metrics for the whole process.
var components = map[string]struct {
	program string
	command func() *cobra.Command
}{
	"apiserver":          {"kube-apiserver", apiserver.NewAPIServerCommand},
	"controller-manager": {"kube-controller-manager", controllermanager.NewControllerManagerCommand},
	"scheduler":          {"kube-scheduler", func() *cobra.Command { return scheduler.NewSchedulerCommand() }},
	"kubelet":            {"kubelet", func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }},
	"proxy":              {"kube-proxy", proxy.NewProxyCommand},
}

// own holds the project's own subcommands: their arguments and what they do with them.
var own = map[string]struct {
	arguments []string
	run       func(arguments []string) error
}{
	"image":   {[]string{"PROGRAM", "REFERENCE", "ARCHIVE"}, func(a []string) error { return image(a[0], a[1], a[2]) }},
	"recycle": {[]string{"KUBECONFIG", "CLASS", "VOLUMES", "KUBELET"}, func(a []string) error { return recycle(a[0], a[1], a[2], a[3]) }},
}

func main() {
	// A link with the name kubectl is kubectl.
	name := filepath.Base(os.Args[0])
	if name != "kubectl" {
		if len(os.Args) < 2 {
			usage("no subcommand given")
		}
		name = os.Args[1]
		os.Args = slices.Delete(os.Args, 1, 2)
	}
	if component, found := components[name]; found {
		os.Args[0] = component.program
		os.Exit(cli.Run(component.command()))
	}
	if command, found := own[name]; found {
		if len(os.Args)-1 != len(command.arguments) {
			usage(fmt.Sprintf("%s takes %s", name, strings.Join(command.arguments, " ")))
		}
		exit(command.run(os.Args[1:]))
	}
	switch name {
	case "etcd":
		os.Args[0] = name
		etcdmain.Main(os.Args)
	case "kubectl":
		os.Args[0] = name
		exit(cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()))
	default:
		usage(fmt.Sprintf("%q is no subcommand", name))
	}
}

// usage says what is wrong and which subcommands there are, and ends the program.
func usage(problem string) {
	names := []string{"etcd", "kubectl"}
	for name := range components {
		names = append(names, name)
	}
	for name := range own {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stderr, "kube: %s; the subcommands are %s\n", problem, strings.Join(names, ", "))
	os.Exit(exitUsage)
}

// exit ends the program with the error's text, if there is one.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
