package testbed

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

//go:embed kwok.yaml
var stages []byte

// ClusterOptions configures a Cluster. The zero value is a cluster named test with three nodes.
type ClusterOptions struct {
	Name  string   // Of the cluster and its kubeconfig context; test.
	Nodes int      // Simulated by kwok; 3.
	Users []string // Besides admin, without any right until a binding gives them some.
}

// Cluster is a Kubernetes control plane of real programs, with nodes and pods that kwok pretends to
// run: a pod runs as soon as it is scheduled, and crashes again and again if its image's tag begins
// with bad or crash.
type Cluster struct {
	Name       string
	URL        string
	Kubeconfig string // Of user admin, who may do all; its only context is Name.

	Etcd, APIServer, Controllers, Scheduler, Kwok *Process

	t    testing.TB
	dir  string
	bin  string
	port int

	mu      sync.Mutex // Guards what follows.
	applied int        // Objects, each in a file of its own: tests apply side by side.
}

// StartCluster builds a control plane if need be, starts it and waits until its nodes are ready. It
// takes about five seconds and 600 MB. It ends with the test.
func StartCluster(t testing.TB, opts ClusterOptions) *Cluster {
	t.Helper()
	if opts.Name == "" {
		opts.Name = "test"
	}
	if opts.Nodes == 0 {
		opts.Nodes = 3
	}
	c := &Cluster{Name: opts.Name, t: t, dir: t.TempDir(), bin: Tools(t, "k8s"), port: Port(t)}
	c.URL = "https://" + address(c.port)
	c.files(append([]string{"admin"}, opts.Users...))
	etcd := c.startEtcd()
	c.startAPIServer(etcd)
	c.Kubeconfig = c.KubeconfigOf("admin")
	c.startControllers()
	c.startNodes(opts.Nodes)
	return c
}

func (c *Cluster) file(name string) string { return filepath.Join(c.dir, name) }

func (c *Cluster) write(name string, text []byte) string {
	c.t.Helper()
	if err := os.WriteFile(c.file(name), text, 0o600); err != nil {
		c.t.Fatalf("testbed: prepare cluster %s: %v", c.Name, err)
	}
	return c.file(name)
}

// files writes the key that signs the tokens of service accounts, and the tokens of users.
func (c *Cluster) files(users []string) {
	c.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		c.t.Fatalf("testbed: make a key: %v", err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	c.write("sa.key", pem.EncodeToMemory(block))
	var tokens []byte
	for _, u := range users {
		group := "testers"
		if u == "admin" {
			group = "system:masters"
		}
		tokens = fmt.Appendf(tokens, "%s,%s,%s,%s\n", token(u), u, u, group)
	}
	c.write("tokens.csv", tokens)
	c.write("kwok.yaml", stages)
}

// token is a user's bearer token: good enough for a server on the loopback interface that lives for
// a minute.
func token(user string) string { return "token-of-" + user }

func (c *Cluster) startEtcd() (url string) {
	c.t.Helper()
	url = "http://" + address(Port(c.t))
	peers := "http://" + address(Port(c.t))
	c.Etcd = c.start("etcd", serves(http.DefaultClient, url+"/health", nil),
		"--data-dir", c.file("etcd"), "--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
		"--initial-cluster", "default="+peers, "--unsafe-no-fsync", "--log-level", "warn")
	return url
}

func (c *Cluster) startAPIServer(etcd string) {
	c.t.Helper()
	c.APIServer = c.start("kube-apiserver", func() error {
		_, err := c.Get("/readyz")
		return err
	},
		"--etcd-servers="+etcd, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		"--secure-port="+strconv.Itoa(c.port), "--cert-dir="+c.file("certs"),
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+c.file("sa.key"),
		"--service-account-signing-key-file="+c.file("sa.key"),
		"--token-auth-file="+c.file("tokens.csv"), "--authorization-mode=RBAC",
		"--profiling=false", "--allow-privileged=true")
}

func (c *Cluster) startControllers() {
	c.t.Helper()
	local := func(name string) []string {
		return []string{
			"--kubeconfig=" + c.Kubeconfig, "--authentication-kubeconfig=" + c.Kubeconfig,
			"--authorization-kubeconfig=" + c.Kubeconfig, "--bind-address=127.0.0.1",
			"--secure-port=" + strconv.Itoa(Port(c.t)), "--cert-dir=" + c.file(name),
			"--leader-elect=false",
		}
	}
	c.Controllers = c.start("kube-controller-manager", nil, append(local("certs-controllers"),
		"--use-service-account-credentials=false",
		"--service-account-private-key-file="+c.file("sa.key"))...)
	c.Scheduler = c.start("kube-scheduler", nil, local("certs-scheduler")...)
	c.Kwok = c.start("kwok", nil, "--kubeconfig="+c.Kubeconfig, "--config="+c.file("kwok.yaml"),
		"--manage-all-nodes=true", "--node-lease-duration-seconds=40",
		"--server-address="+address(Port(c.t)))
}

// start starts one of the cluster's programs; its log bears the cluster's name.
func (c *Cluster) start(program string, ready func() error, args ...string) *Process {
	c.t.Helper()
	return Start(c.t, ProcessOptions{
		Name: c.Name + "-" + program, Path: filepath.Join(c.bin, program),
		Args: args, Dir: c.dir, Ready: ready,
	})
}

func (c *Cluster) startNodes(count int) {
	c.t.Helper()
	var list []any
	for i := range count {
		name := fmt.Sprintf("node-%d", i)
		list = append(list, map[string]any{
			"apiVersion": "v1", "kind": "Node",
			"metadata": map[string]any{
				"name": name, "labels": map[string]string{"kubernetes.io/hostname": name},
			},
		})
	}
	c.Apply(map[string]any{"apiVersion": "v1", "kind": "List", "items": list})
	Eventually(c.t, time.Minute, "the nodes of "+c.Name, c.ready)
}

// ready says whether pods can be created and run: all nodes are, and the default service account is
// there.
func (c *Cluster) ready() error {
	if _, err := c.Get("/api/v1/namespaces/default/serviceaccounts/default"); err != nil {
		return err
	}
	body, err := c.Get("/api/v1/nodes")
	if err != nil {
		return err
	}
	var nodes struct {
		Items []struct {
			Spec struct {
				Taints []any `json:"taints"`
			} `json:"spec"`
		} `json:"items"`
	}
	if err := json.Unmarshal(body, &nodes); err != nil {
		return err
	}
	for _, n := range nodes.Items {
		if len(n.Spec.Taints) > 0 { // The controller manager takes not-ready away.
			return errors.New("a node has taints")
		}
	}
	return nil
}

// KubeconfigOf writes a kubeconfig for a user that ClusterOptions named, and returns its path.
func (c *Cluster) KubeconfigOf(user string) string {
	c.t.Helper()
	named := func(kind string, value any) []any {
		return []any{map[string]any{"name": c.Name, kind: value}}
	}
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": c.Name,
		"clusters": named("cluster", map[string]string{
			"server": c.URL, "certificate-authority": c.file("certs/apiserver.crt"),
		}),
		"users":    named("user", map[string]string{"token": token(user)}),
		"contexts": named("context", map[string]string{"cluster": c.Name, "user": c.Name}),
	})
	if err != nil {
		c.t.Fatalf("testbed: write a kubeconfig: %v", err)
	}
	return c.write("kubeconfig-"+user+".json", text)
}

// Get returns what the API server answers to admin, if that is a 200.
func (c *Cluster) Get(path string) ([]byte, error) {
	cert, err := os.ReadFile(c.file("certs/apiserver.crt"))
	if err != nil {
		return nil, err // The API server writes it when it starts first.
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	trust := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	transport := &http.Transport{TLSClientConfig: trust}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	return get(client, c.URL+path, http.Header{"Authorization": {"Bearer " + token("admin")}})
}

// Kubectl runs kubectl as admin and returns what it prints. It fails the test if kubectl fails.
func (c *Cluster) Kubectl(args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(c.bin, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "HOME="+c.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("testbed: kubectl %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// Apply applies an object, given as what its JSON is made of, as admin.
func (c *Cluster) Apply(object any) {
	c.t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		c.t.Fatalf("testbed: write an object: %v", err)
	}
	c.mu.Lock()
	c.applied++
	name := fmt.Sprintf("object-%d.json", c.applied)
	c.mu.Unlock()
	c.Kubectl("apply", "-f", c.write(name, text))
}

// KillAPIServer ends the API server as kill -9 does. Its data, in etcd, and its certificate stay.
func (c *Cluster) KillAPIServer() { c.APIServer.Kill() }

// StartAPIServer brings the API server back on the same port and waits until it is ready.
func (c *Cluster) StartAPIServer() {
	c.t.Helper()
	c.APIServer.Start()
}
