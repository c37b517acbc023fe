package embedded

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

func vaultBinary(t *testing.T) string {
	t.Helper()
	binary, err := BuildVault(t.Context(), t.Output())
	if errors.Is(err, ErrNoVault) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func runVault(t *testing.T, dir string) *Vault {
	t.Helper()
	v, err := StartVault(t.Context(), VaultOptions{Binary: vaultBinary(t), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopVault(t, v) })
	return v
}

func stopVault(t *testing.T, v *Vault) {
	t.Helper()
	if err := v.Stop(context.Background()); err != nil { // t's context has ended in a cleanup
		t.Fatal(err)
	}
}

// keep stores a word in v.
func keep(t *testing.T, v *Vault) {
	t.Helper()
	if _, err := v.client.KVv2(vaultMount).Put(t.Context(), "kept", map[string]any{"word": "anchor"}); err != nil {
		t.Fatal(err)
	}
}

// kept reads the word back.
func kept(t *testing.T, v *Vault) {
	t.Helper()
	secret, err := v.client.KVv2(vaultMount).Get(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	if secret.Data["word"] != "anchor" {
		t.Fatalf("kept %v", secret.Data)
	}
}

func TestVaultKeepsDataAndPort(t *testing.T) {
	for name, dir := range map[string]func(*testing.T) string{
		"folder that the server's user can get to": reachable,
		"folder below one of mode 0700":            func(t *testing.T) string { return t.TempDir() },
		"odd name":                                 func(t *testing.T) string { return filepath.Join(reachable(t), "it's a \"fôlder\" % x") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(dir(t), "vault")
			first := runVault(t, dir)
			keep(t, first)
			stopVault(t, first)
			if err, ok := <-first.Done(); ok {
				t.Fatalf("Done after Stop: %v", err)
			}
			second := runVault(t, dir)
			if second.Addr() != first.Addr() || second.RootToken() != first.RootToken() {
				t.Errorf("the second start is %s, the first %s", second.Addr(), first.Addr())
			}
			kept(t, second)
		})
	}
}

func TestVaultSurvives(t *testing.T) {
	v := runVault(t, t.TempDir())
	keep(t, v)
	for _, c := range []struct {
		name          string
		harm, recover func(context.Context) error
	}{
		{"seal", v.Seal, v.Unseal},
		{"restart", func(context.Context) error { return nil }, v.Restart},
		{"kill", func(context.Context) error { v.Kill(); return nil }, v.Restart},
		{"seal and restart", v.Seal, v.Restart},
		{"kill twice", func(context.Context) error { v.Kill(); v.Kill(); return nil }, v.Restart},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.harm(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.name != "restart" {
				if _, err := v.client.KVv2(vaultMount).Get(t.Context(), "kept"); err == nil {
					t.Fatal("it still answers")
				}
			}
			if err := c.recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			kept(t, v)
		})
	}
}

func TestVaultTellsOfItsDeath(t *testing.T) {
	v := runVault(t, t.TempDir())
	v.mu.Lock()
	pid := v.process.child.Pid
	v.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-v.Done():
		if err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("Done says: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Done says nothing")
	}
}

// vaultParentFolder makes TestVaultParent the parent of a server in the named
// folder.
const vaultParentFolder = "EMBEDDED_TEST_VAULT_FOLDER"

// TestVaultParent is no test of its own: it is the process that
// TestVaultDiesWithItsParent kills.
func TestVaultParent(t *testing.T) {
	dir := os.Getenv(vaultParentFolder)
	if dir == "" {
		t.Skip("run by TestVaultDiesWithItsParent")
	}
	v := runVault(t, dir)
	keep(t, v)
	fmt.Println(v.Addr())
	select {}
}

// A server must not outlive its parent, even one that had no chance to stop it,
// and the next parent goes on with its data.
func TestVaultDiesWithItsParent(t *testing.T) {
	vaultBinary(t)
	dir := t.TempDir()
	parent := exec.Command(os.Args[0], "-test.run=^TestVaultParent$")
	parent.Env = append(os.Environ(), vaultParentFolder+"="+dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	address = strings.TrimSpace(address)
	if err != nil || !strings.HasPrefix(address, "http://127.0.0.1:") {
		_ = parent.Process.Kill()
		t.Fatalf("the parent says %q, %v", address, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	second := runVault(t, dir)
	if second.Addr() != address {
		t.Errorf("the second start is at %s, the first was at %s", second.Addr(), address)
	}
	kept(t, second)
}

// A crash before the keys were safe must not leave data that nobody can open.
func TestVaultStartsOverAfterACrashInItsFirstStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, freshData, "core"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, vaultKeysFile), []byte(`{"unseal_key":"b2xk","root_token":"old"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	keep(t, runVault(t, dir))
}

// A kill in the middle of a write leaves a file behind that Vault would take
// for a lease that is damaged, whereupon it seals itself.
func TestVaultSurvivesAHalfWrittenFile(t *testing.T) {
	dir := t.TempDir()
	first := runVault(t, dir)
	keep(t, first)
	stopVault(t, first)
	leases := filepath.Join(dir, dataFolder, "sys")
	for _, folder := range []string{"expire", "id", "auth", "approle", "login"} {
		leases = filepath.Join(leases, folder)
		if err := errors.Join(os.MkdirAll(leases, 0o700), first.folder.setOwner(leases, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	half := filepath.Join(leases, "_h0123.temp")
	if err := os.WriteFile(half, []byte(`{"Value":"AAAA`), 0o644); err != nil {
		t.Fatal(err)
	}
	second := runVault(t, dir)
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the half-written file is still there: %v", err)
	}
	kept(t, second)
	if log, err := second.folder.readFile(vaultLog); err != nil || strings.Contains(string(log), "restoring leases") {
		t.Errorf("the log, %v:\n%s", err, log)
	}
}

func TestVaultSaysWhatIsWrongWithItsFolder(t *testing.T) {
	dir := t.TempDir()
	stopVault(t, runVault(t, dir))
	if err := os.Remove(filepath.Join(dir, vaultKeysFile)); err != nil {
		t.Fatal(err)
	}
	_, err := StartVault(t.Context(), VaultOptions{Binary: vaultBinary(t), Dir: dir})
	if err == nil || !strings.Contains(err.Error(), vaultKeysFile) {
		t.Fatalf("without the keys: %v", err)
	}
}

func TestVaultKeepsItsSecretsToItself(t *testing.T) {
	dir := t.TempDir()
	v := runVault(t, dir)
	keep(t, v)
	v.mu.Lock()
	pid := v.process.child.Pid
	v.mu.Unlock()
	for _, file := range []string{"cmdline", "environ"} {
		content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(v.RootToken())) || bytes.Contains(content, []byte(v.keys.UnsealKey)) {
			t.Errorf("%s holds a secret: %q", file, content)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 && entry.Name() != vaultProgram {
			t.Errorf("%s can be read by others: %v", entry.Name(), info.Mode())
		}
	}
	answer, err := http.Get(v.Addr() + "/v1/secret/data/kept")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("without a token: %s", answer.Status)
	}
}

func TestBuildVaultAtOnce(t *testing.T) {
	want := vaultBinary(t)
	var builders sync.WaitGroup
	for range 8 {
		builders.Go(func() {
			got, err := BuildVault(t.Context(), t.Output())
			if err != nil || got != want {
				t.Errorf("got %s, %v; want %s", got, err, want)
			}
		})
	}
	builders.Wait()
}

func TestBuildVaultOutsideTheCheckout(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := BuildVault(t.Context(), t.Output())
	if !errors.Is(err, ErrNoVault) || !strings.Contains(err.Error(), "checkout") {
		t.Fatalf("got %v", err)
	}
}

func TestVaultIgnoresTheEnvironmentsVault(t *testing.T) {
	for name, value := range map[string]string{
		api.EnvVaultAddress: "http://127.0.0.1:9", api.EnvVaultToken: "s.foreign",
		api.EnvVaultNamespace: "foreign", api.EnvVaultAgentAddr: "http://127.0.0.1:9",
	} {
		t.Setenv(name, value)
	}
	v := runVault(t, t.TempDir())
	keep(t, v)
	kept(t, v)
}
