// Command clientgo asks a cluster for its version through client-go, with an
// exec credential plugin, and prints it.
package main

import (
	"fmt"
	"os"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err == nil {
		var client *discovery.DiscoveryClient
		if client, err = discovery.NewDiscoveryClientForConfig(config); err == nil {
			version, failed := client.ServerVersion()
			if err = failed; err == nil {
				fmt.Println(version.GitVersion)
				return
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
