package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificate is one certificate of the cluster: who it names, and whether it serves as well.
type certificate struct {
	file   string
	name   string
	groups []string
	serves bool
}

// certificates are all that the parts need to know each other. The node is an administrator: it runs
// under the same user as everything else here, so a narrower right would protect nothing.
var certificates = []certificate{
	{file: "etcd", name: "etcd", serves: true},
	{file: "apiserver", name: "kube-apiserver", serves: true},
	{file: "apiserver-kubelet-client", name: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
	{file: "admin", name: "kubernetes-admin", groups: []string{"system:masters"}},
	{file: "controller-manager", name: "system:kube-controller-manager"},
	{file: "scheduler", name: "system:kube-scheduler"},
	{file: "node", name: "system:node:local", groups: []string{"system:masters"}, serves: true},
}

// runPKI writes the cluster's keys and certificates into a folder, unless they are there. Python's
// standard library cannot, and openssl need not be installed.
func runPKI() int {
	flags := flag.NewFlagSet("pki", flag.ContinueOnError)
	dir := flags.String("dir", "", "the folder for the keys and certificates")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return 2
	}
	if err := makePKI(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "pki:", err)
		return 1
	}
	return 0
}

// makePKI makes everything in a folder aside and renames it, so that it is there as a whole or not at all.
func makePKI(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), "pki-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made) //nolint:errcheck // nothing is left after the rename
	authority, authorityKey, err := issue(made, certificate{file: "ca", name: "carillon-devcluster"}, nil, nil)
	if err != nil {
		return err
	}
	for _, wanted := range certificates {
		if _, _, err := issue(made, wanted, authority, authorityKey); err != nil {
			return err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(made, "service-accounts"), key); err != nil {
		return err
	}
	return os.Rename(made, dir)
}

// issue makes a key and its certificate, signed by the authority or, for the authority, by itself.
func issue(dir string, wanted certificate, authority *x509.Certificate, authorityKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: wanted.name, Organization: wanted.groups},
		NotBefore:             now.Add(-time.Hour), // clocks of containers and virtual machines lag at times
		NotAfter:              now.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if wanted.serves {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)} // 10.0.0.1 is the kubernetes service
		template.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	}
	if authority == nil {
		template.IsCA = true
		template.KeyUsage |= x509.KeyUsageCertSign
		template.ExtKeyUsage = nil
		authority, authorityKey = template, key
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, authority, &key.PublicKey, authorityKey)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := x509.ParseCertificate(signed)
	if err != nil {
		return nil, nil, err
	}
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})
	if err := os.WriteFile(filepath.Join(dir, wanted.file+".crt"), encoded, 0o600); err != nil {
		return nil, nil, err
	}
	return parsed, key, writeKey(filepath.Join(dir, wanted.file), key)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}
