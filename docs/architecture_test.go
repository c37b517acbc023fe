package docs_test

import (
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the tests find to the files that they compare it with, for review")

const module = "github.com/chandler-broker/chandler"

// graph holds the imports between the packages of the repository: each by its
// folder, and tests excluded.
type graph map[string]map[string]bool

var (
	supportsTests = regexp.MustCompile(`(^|/)[a-z]+(test|fake)(/|$)`)
	isClient      = regexp.MustCompile(`^(acceptance|examples)/?`) // of the product: its tests count
	isBackend     = regexp.MustCompile(`^services/(database|queue|dns|filesystem|function|gateway)/[a-z0-9]+$`)
)

// node is where the picture has a package: backends are one node, and so is each
// module that only tests and shows the product.
func node(folder string) string {
	switch first, _, _ := strings.Cut(folder, "/"); {
	case isBackend.MatchString(folder) && path.Base(folder) != "btrfs":
		return "services/FAMILY/BACKEND"
	case first == "acceptance":
		return first
	case first == "examples":
		return strings.Join(strings.SplitN(folder, "/", 3)[:2], "/")
	}
	return folder
}

// readImports reads the imports of all modules' packages.
func readImports(t *testing.T) graph {
	t.Helper()
	g := graph{}
	err := fs.WalkDir(os.DirFS(".."), ".", func(file string, d fs.DirEntry, err error) error {
		folder := path.Dir(file)
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != "." && (d.Name()[0] == '.' || d.Name() == "testdata" || file == "bin" || path.Dir(file) == "embedded" && strings.HasSuffix(file, "server")):
			return fs.SkipDir
		case path.Ext(file) != ".go" || supportsTests.MatchString(folder) || strings.HasSuffix(file, "_test.go") && !isClient.MatchString(folder):
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", file), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := node(folder)
		if g[from] == nil {
			g[from] = map[string]bool{}
		}
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if to, ours := strings.CutPrefix(name+"/", module+"/"); ours && !supportsTests.MatchString(to) {
				if to = node(path.Clean("./" + to)); to != from {
					g[from][to] = true
				}
			}
		}
		return nil
	})
	if err != nil || len(g) < 20 {
		t.Fatalf("%d packages: %v", len(g), err)
	}
	return g
}

// reaches says whether one package imports another through further ones.
func (g graph) reaches(from, to string) bool {
	for next := range g[from] {
		if next != to && (g[next][to] || g.reaches(next, to)) {
			return true
		}
	}
	return false
}

// picture draws the graph without imports that follow from others. Modules but the
// product's are boxes.
func (g graph) picture(modules []string) string {
	var product strings.Builder
	boxes := map[string]string{}
	for _, from := range slices.Sorted(maps.Keys(g)) {
		var direct []string
		for _, to := range slices.Sorted(maps.Keys(g[from])) {
			if to != "." && !g.reaches(from, to) {
				direct = append(direct, to)
			}
		}
		line := "  " + from
		if len(direct) > 0 {
			line += " --> " + strings.Join(direct, " & ")
		}
		box := slices.IndexFunc(modules, func(m string) bool { return strings.HasPrefix(from+"/", m+"/") })
		switch {
		case from == ".": // files that the program embeds
		case box >= 0:
			boxes[modules[box]] += "  " + line + "\n"
		default:
			product.WriteString(line + "\n")
		}
	}
	for i, name := range slices.Sorted(maps.Keys(boxes)) {
		fmt.Fprintf(&product, "  subgraph module%d [module %s]\n%s  end\n", i+1, name, boxes[name])
	}
	return "```mermaid\nflowchart LR\n" + product.String() + "```\n"
}

// readModules finds the modules beside the product's.
func readModules(t *testing.T) (modules []string) {
	t.Helper()
	for _, pattern := range []string{"../*/go.mod", "../*/*/go.mod"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			modules = append(modules, filepath.ToSlash(filepath.Dir(strings.TrimPrefix(file, "../"))))
		}
	}
	return modules
}

// The picture of the packages is drawn from their imports.
func TestPictureOfThePackages(t *testing.T) {
	const page = "architecture.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	between := regexp.MustCompile(`(?s)(<!-- packages -->\n).*?(<!-- /packages -->)`)
	want := between.ReplaceAllString(string(text), "${1}"+readImports(t).picture(readModules(t))+"${2}")
	if *update {
		err = os.WriteFile(page, []byte(want), 0o644)
	} else if !between.Match(text) || want != string(text) {
		t.Errorf("%s: the picture differs from the imports; draw it with: go test ./docs -run Picture -update", page)
	}
	if err != nil {
		t.Fatal(err)
	}
}
