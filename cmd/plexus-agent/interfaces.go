package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newInterfaces() *cobra.Command {
	return &cobra.Command{
		Use:   "interfaces [NAME...]",
		Short: "List the interfaces of this pod, and fail if one of those named is missing",
		Long: `interfaces lists the network interfaces that it sees, with their addresses, and fails
if one that is named is not among them. The chart's "helm test" runs it in a pod that
selects a network, to see that the node attached it.`,
		Example: `  plexus-agent interfaces net0`,
		RunE: func(cmd *cobra.Command, names []string) error {
			return findInterfaces(cmd.OutOrStdout(), names)
		},
	}
}

// findInterfaces lists all interfaces and gives an error that has the names that are missing.
func findInterfaces(w io.Writer, names []string) error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list the interfaces: %w", err)
	}
	found := make([]string, len(all))
	for i, link := range all {
		found[i] = link.Name
		addresses, err := link.Addrs()
		if err != nil {
			return fmt.Errorf("list the addresses of %s: %w", link.Name, err)
		}
		fmt.Fprintln(w, link.Name, addresses)
	}
	missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(found, name) })
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s: there is no interface %s, only %s. If this is a pod that selects a network, its node does not use Plexus for new pods: "+
		"see \"No net0\" in docs/troubleshooting.md", hostname(), strings.Join(missing, ", "), strings.Join(found, ", "))
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "this pod"
	}
	return name
}
