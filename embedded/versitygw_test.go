package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func runVersityGW(t *testing.T, o VersityGWOptions) *VersityGW {
	t.Helper()
	g, err := tryVersityGW(t, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopVersityGW(t, g) })
	return g
}

func tryVersityGW(t *testing.T, o VersityGWOptions) (*VersityGW, error) {
	t.Helper()
	binary, err := BuildVersityGW(t.Context(), t.Output())
	if errors.Is(err, ErrNoVersityGW) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	o.Binary = binary
	return StartVersityGW(t.Context(), o)
}

func stopVersityGW(t *testing.T, g *VersityGW) {
	t.Helper()
	if err := g.Stop(context.Background()); err != nil { // t's context has ended in a cleanup
		t.Fatal(err)
	}
}

func versityClient(t *testing.T, g *VersityGW) *minio.Client {
	t.Helper()
	client, err := minio.New(localAddress(g.port), &minio.Options{
		Creds:  credentials.NewStaticV4(g.AccessKeyID(), g.SecretAccessKey(), ""),
		Region: g.Region(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// putWord stores a word in g.
func putWord(t *testing.T, g *VersityGW) {
	t.Helper()
	client := versityClient(t, g)
	if err := client.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), "bucket", "a/word", strings.NewReader("anchor"), 6, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
}

// storedWord reads the word back.
func storedWord(t *testing.T, g *VersityGW) {
	t.Helper()
	object, err := versityClient(t, g).GetObject(t.Context(), "bucket", "a/word", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = object.Close() }() // it was read
	word := make([]byte, 6)
	if n, err := object.Read(word); string(word[:n]) != "anchor" {
		t.Fatalf("stored %q, %v", word[:n], err)
	}
}

func TestVersityGWKeepsDataAndPort(t *testing.T) {
	for name, dir := range map[string]func(*testing.T) string{
		"folder that the gateway's user can get to": reachable,
		"folder below one of mode 0700":             func(t *testing.T) string { return t.TempDir() },
		"odd name":                                  func(t *testing.T) string { return filepath.Join(reachable(t), "it's a \"fôlder\" % x") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(dir(t), "gateway")
			first := runVersityGW(t, VersityGWOptions{Dir: dir})
			putWord(t, first)
			stopVersityGW(t, first)
			if err, ok := <-first.Done(); ok {
				t.Fatalf("Done after Stop: %v", err)
			}
			second := runVersityGW(t, VersityGWOptions{Dir: dir})
			if second.Endpoint() != first.Endpoint() || second.SecretAccessKey() != first.SecretAccessKey() {
				t.Error("the second start has another port or secret")
			}
			storedWord(t, second)
			file := filepath.Join(second.BucketsFolder(), "bucket", "a", "word")
			if text, err := os.ReadFile(file); string(text) != "anchor" {
				t.Errorf("%s: %q, %v", file, text, err)
			}
		})
	}
}

func TestVersityGWSurvives(t *testing.T) {
	g := runVersityGW(t, VersityGWOptions{Dir: t.TempDir()})
	putWord(t, g)
	for _, c := range []struct {
		name string
		harm func()
	}{
		{"restart", func() {}},
		{"kill", g.Kill},
		{"kill twice", func() { g.Kill(); g.Kill() }},
		{"a crash", func() {
			_ = g.process.child.Kill() // as nobody here asked for
			if err := <-g.Done(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Errorf("Done: %v", err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.harm()
			if err := g.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			storedWord(t, g)
		})
	}
	stopVersityGW(t, g)
	if err := g.Restart(t.Context()); err == nil {
		t.Error("restarted after Stop")
	}
}

func TestVersityGWKeepsSecrets(t *testing.T) {
	g := runVersityGW(t, VersityGWOptions{Dir: t.TempDir()})
	info, err := os.Stat(g.folder.path(versitySecretFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the secret's file has mode %v", info.Mode())
	}
	for _, name := range []string{"cmdline", "comm"} {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(g.process.child.Pid), name))
		if err != nil || strings.Contains(string(text), g.SecretAccessKey()) {
			t.Errorf("%s of the gateway: %q, %v", name, text, err)
		}
	}
	log, err := os.ReadFile(g.folder.path(versityLog))
	if err != nil || strings.Contains(string(log), g.SecretAccessKey()) {
		t.Errorf("log: %q, %v", log, err)
	}
}

func TestVersityGWRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	used := runVersityGW(t, VersityGWOptions{Dir: t.TempDir()})
	for _, c := range []struct {
		name    string
		options VersityGWOptions
		want    string
	}{
		{"a port that is taken", VersityGWOptions{Dir: withPort(t, t.TempDir(), portFile, port)}, fmt.Sprint(port)},
		{"a folder in use", VersityGWOptions{Dir: used.folder.root}, "is in use by process"},
		{"a folder of buckets that is not there", VersityGWOptions{Dir: t.TempDir(), Buckets: "/nowhere/at/all"}, "no such file"},
		{"a broken certificate", VersityGWOptions{Dir: t.TempDir(), TLS: &TLS{Certificate: []byte("x"), Key: []byte("x")}}, "tls"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := tryVersityGW(t, c.options)
			if err == nil {
				stopVersityGW(t, g)
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
}
