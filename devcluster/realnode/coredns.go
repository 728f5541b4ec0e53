package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/coredns/caddy"
	_ "github.com/coredns/coredns/core/dnsserver" // caddy's server of the type "dns"
	_ "github.com/coredns/coredns/plugin/bind"    // what follows are the plugins that config.py's Corefile names
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/template"
)

// runCoreDNS serves DNS as a Corefile says, until a signal ends it. CoreDNS's own command is not used, since it
// imports its fifty plugins, clouds and all.
func runCoreDNS(arguments []string) int {
	flags := flag.NewFlagSet("coredns", flag.ContinueOnError)
	conf := flags.String("conf", "", "the Corefile")
	if err := flags.Parse(arguments); err != nil {
		return 2
	}
	if err := serveDNS(*conf); err != nil {
		fmt.Fprintln(os.Stderr, "coredns:", err)
		return 1
	}
	return 0
}

func serveDNS(conf string) error {
	contents, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	caddy.Quiet = true // its banner names files that are not there
	caddy.AppName = "CoreDNS"
	caddy.TrapSignals()
	instance, err := caddy.Start(caddy.CaddyfileInput{
		Contents:       contents,
		Filepath:       filepath.Clean(conf),
		ServerTypeName: "dns",
	})
	if err != nil {
		return err
	}
	instance.Wait()
	return nil
}
