package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificate is one certificate of the node: the file's name and who it names.
type certificate struct {
	file   string
	name   string
	groups []string
}

// certificatesOf are what a node and whoever calls it at its own address need.
func certificatesOf(node string) []certificate {
	return []certificate{
		{file: "apiserver-bridge", name: "kube-apiserver"},
		{file: "kubelet", name: "system:node:" + node, groups: []string{"system:nodes", "system:masters"}},
		{file: "kube-proxy", name: "system:kube-proxy"},
		{file: "coredns", name: "system:coredns"},
	}
}

// runPKI writes the node's keys and certificates beside those of its control plane, signed by the same authority.
// The kubelet is an administrator, as the node of processes is: it runs under the same user as everything else here.
func runPKI(arguments []string) int {
	flags := flag.NewFlagSet("pki", flag.ContinueOnError)
	dir := flags.String("dir", "", "the folder with ca.crt and ca.key, for the new keys and certificates as well")
	node := flags.String("node", "", "the node's name")
	address := flags.String("address", "", "the node's IP address")
	if err := flags.Parse(arguments); err != nil {
		return 2
	}
	if err := makePKI(*dir, *node, net.ParseIP(*address)); err != nil {
		fmt.Fprintln(os.Stderr, "pki:", err)
		return 1
	}
	return 0
}

func makePKI(dir, node string, address net.IP) error {
	if address == nil || node == "" {
		return errors.New("--node and --address are needed; --address is an IP address")
	}
	authority, key, err := readAuthority(dir)
	if err != nil {
		return err
	}
	for _, wanted := range certificatesOf(node) {
		if err := issue(dir, wanted, address, authority, key); err != nil {
			return err
		}
	}
	return nil
}

// readAuthority reads the certificate and the key that carillon-devcluster's pki made.
func readAuthority(dir string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certificatePEM, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, nil, err
	}
	certificateBlock, _ := pem.Decode(certificatePEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certificateBlock == nil || keyBlock == nil {
		return nil, nil, fmt.Errorf("ca.crt or ca.key in %s is no PEM file", dir)
	}
	authority, err := x509.ParseCertificate(certificateBlock.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	return authority, key, err
}

// issue makes a key and its certificate: for clients, and for a server at the address, on loopback, and as the
// service "kubernetes".
func issue(dir string, wanted certificate, address net.IP, authority *x509.Certificate, authorityKey *ecdsa.PrivateKey) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: wanted.name, Organization: wanted.groups},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IPAddresses:           []net.IP{address, net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)}, // 10.0.0.1 is the service
		DNSNames:              []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, authority, &key.PublicKey, authorityKey)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})
	if err := os.WriteFile(filepath.Join(dir, wanted.file+".crt"), encoded, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, wanted.file+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}
