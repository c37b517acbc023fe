package deploy_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	helm "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
)

const version = "v0.0.1-release.test"

// clone makes a clone of this checkout's commit under a tag.
func clone(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	git(t, ".", "clone", "-q", git(t, ".", "rev-parse", "--show-toplevel"), dir)
	git(t, dir, "tag", version)
	return dir
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	return run(t, dir, "git", args...)
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// Two clones in different places make the same bytes: a static binary that knows
// its version, and a list of all that it is made of.
func TestRelease(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "git", "rev-parse").Run(); err != nil {
		t.Skip("the sources come without their history")
	}
	first, second := clone(t), clone(t)
	out := filepath.Join(t.TempDir(), "dist")
	run(t, first, "deploy/release/build", out, "amd64")
	run(t, second, "deploy/release/build", filepath.Join(second, "bin", "dist"), "amd64")
	sums := read(t, filepath.Join(out, "SHA256SUMS"))
	if again := read(t, filepath.Join(second, "bin", "dist", "SHA256SUMS")); !bytes.Equal(sums, again) {
		t.Errorf("not reproducible:\n%s\n%s", sums, again)
	}
	run(t, out, "sha256sum", "--check", "--strict", "SHA256SUMS")

	name := "chandler-" + version + "-linux-amd64"
	dir := unpack(t, filepath.Join(out, name+".tar.gz"))
	binary := filepath.Join(dir, name, "chandler")
	static(t, binary)
	said := run(t, dir, binary, "version")
	if !strings.Contains(said, version) || !strings.Contains(said, git(t, first, "rev-parse", "HEAD")) {
		t.Error(said)
	}
	for _, file := range []string{
		"LICENSE", "catalog.yml", "manifest.yml", "deploy/systemd/chandler.service", "deploy/systemd/chandler.sysusers.conf", "deploy/container/Containerfile", "deploy/helm/chandler/alerts.yml", "docs/operator.md", "services/database/postgres/administrator.sql",
	} {
		if _, err := os.Stat(filepath.Join(dir, name, file)); err != nil {
			t.Error(err)
		}
	}
	links(t, filepath.Join(dir, name))
	complete(t, filepath.Join(out, name+".cdx.json"), binary)
	functions := binary + "-functions"
	static(t, functions)
	if said := run(t, dir, functions, "version"); !strings.Contains(said, "version: "+version+"\n") || !strings.Contains(said, git(t, first, "rev-parse", "HEAD")) {
		t.Error(said)
	}
	complete(t, filepath.Join(out, "chandler-functions-"+version+"-linux-amd64.cdx.json"), functions)
	chart, err := loader.Load(filepath.Join(out, "chandler-chart-"+version+".tgz"))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimPrefix(version, "v"); chart.Metadata.Version != want || chart.Metadata.AppVersion != want {
		t.Errorf("the chart is of %s for %s, want %s", chart.Metadata.Version, chart.Metadata.AppVersion, want)
	}
	if rules := slices.IndexFunc(chart.Files, func(f *helm.File) bool { return f.Name == "alerts.yml" && len(f.Data) > 0 }); rules < 0 {
		t.Error("the chart has no alerts")
	}
}

// What is not committed is not released.
func TestChangedCheckout(t *testing.T) {
	dir := clone(t)
	if err := os.WriteFile(filepath.Join(dir, "catalog.yml"), []byte("services: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "deploy/release/build", filepath.Join(t.TempDir(), "dist"), "amd64")
	cmd.Dir = dir
	said, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(said), " M catalog.yml") {
		t.Errorf("%v: %s", err, said)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func unpack(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	packed, err := gzip.NewReader(bytes.NewReader(read(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(packed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Uname != "" {
			t.Errorf("%s belongs to %d %q", header.Name, header.Uid, header.Uname)
		}
		target := filepath.Join(dir, filepath.FromSlash(header.Name))
		if header.Typeflag == tar.TypeDir {
			err = os.MkdirAll(target, 0o700)
		} else {
			var content []byte
			if content, err = io.ReadAll(archive); err == nil {
				err = os.WriteFile(target, content, header.FileInfo().Mode())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// static fails for a binary that needs a dynamic linker.
func static(t *testing.T, binary string) {
	t.Helper()
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary is linked dynamically: %s", part.Type)
		}
	}
}

// links fails where a page of the archive links to a file that the archive lacks.
func links(t *testing.T, root string) {
	t.Helper()
	target := regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	pages := 0
	err := filepath.WalkDir(root, func(page string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(page) != ".md" {
			return err
		}
		pages++
		for _, match := range target.FindAllSubmatch(read(t, page), -1) {
			if link := string(match[1]); !strings.Contains(link, "://") {
				if _, err := os.Stat(filepath.Join(filepath.Dir(page), link)); err != nil {
					t.Errorf("%s links to %s: %v", page, link, err)
				}
			}
		}
		return nil
	})
	if err != nil || pages < 10 {
		t.Errorf("%d pages: %v", pages, err)
	}
}

// complete fails where a module of the binary is missing from the list.
func complete(t *testing.T, list, binary string) {
	t.Helper()
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(read(t, list)), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	if bom.Components != nil {
		for _, c := range *bom.Components {
			listed[c.Name+"@"+c.Version] = true
		}
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) == 0 || bom.Metadata == nil || bom.Metadata.Component == nil || bom.Metadata.Component.Version != version {
		t.Errorf("%d modules; %+v", len(info.Deps), bom.Metadata)
	}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		if !listed[module.Path+"@"+module.Version] {
			t.Errorf("%s %s is not listed", module.Path, module.Version)
		}
	}
}
