// Package functions_test runs the forum's functions as a platform would: compiled
// to WASI, in an interpreter with one mounted folder and bounded memory.
package functions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/chandler-broker/chandler/acceptance/forum/functions/picture"
)

// memoryPages is what a function does with at most: 256 MB in pages of 64 kB.
const memoryPages = 256 << 20 >> 16

// sequence runs modules one after another, each on the answer of the one before.
type sequence struct {
	runtime wazero.Runtime
	modules []wazero.CompiledModule
	folder  string // on this machine
}

func newSequence(t *testing.T, names ...string) *sequence {
	t.Helper()
	ctx := t.Context()
	s := &sequence{
		runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(memoryPages)),
	}
	t.Cleanup(func() { _ = s.runtime.Close(context.Background()) })
	wasi_snapshot_preview1.MustInstantiate(ctx, s.runtime)
	for _, name := range names {
		binary := filepath.Join(t.TempDir(), name+".wasm")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./"+name)
		build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
		code, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		module, err := s.runtime.CompileModule(ctx, code)
		if err != nil {
			t.Fatal(err)
		}
		s.modules = append(s.modules, module)
	}
	return s
}

func (s *sequence) run(t *testing.T, params map[string]any) map[string]any {
	t.Helper()
	for _, module := range s.modules {
		maps.Copy(params, map[string]any{"folder": "/photographs"})
		in, err := json.Marshal(params)
		if err != nil {
			t.Fatal(err)
		}
		var out, log bytes.Buffer
		config := wazero.NewModuleConfig().WithName("").WithStdin(bytes.NewReader(in)).WithStdout(&out).WithStderr(&log).
			WithFSConfig(wazero.NewFSConfig().WithDirMount(s.folder, "/photographs")).WithSysWalltime()
		if _, err := s.runtime.InstantiateModule(t.Context(), module, config); err != nil {
			t.Fatalf("%v\n%s", err, log.Bytes())
		}
		params = map[string]any{}
		if err := json.Unmarshal(out.Bytes(), &params); err != nil {
			t.Fatalf("the answer %q: %v", out.Bytes(), err)
		}
	}
	return params
}

func (s *sequence) put(t *testing.T, name string, encode func(*bytes.Buffer) error) {
	t.Helper()
	var file bytes.Buffer
	if err := encode(&file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.folder, name), file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// stripes are blue, red, blue, so that the middle can be told.
func stripes(width, height int) image.Image {
	out := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.RGBA{B: 255, A: 255}
			if abs(2*x-width) < height {
				c = color.RGBA{R: 255, A: 255}
			}
			out.SetRGBA(x, y, c)
		}
	}
	return out
}

func abs(n int) int { return max(n, -n) }

func TestFunctions(t *testing.T) {
	s := newSequence(t, "crop", "compress")
	for name, test := range map[string]func(*testing.T, *sequence){
		"crop and compress": cropAndCompress, "the largest": largest, "refused": refused,
	} {
		t.Run(name, func(t *testing.T) {
			s.folder = t.TempDir()
			test(t, s)
		})
	}
}

func cropAndCompress(t *testing.T, s *sequence) {
	s.put(t, "one", func(file *bytes.Buffer) error { return jpeg.Encode(file, stripes(1200, 400), nil) })
	got := s.run(t, map[string]any{"id": "m1", "photograph": "one"})
	size, _ := got["size"].(float64)
	if size < 500 || size > 16<<10 {
		t.Errorf("%v bytes", size)
	}
	delete(got, "size")
	want := map[string]any{
		"id": "m1", "photograph": "one", "cropped": "cropped/m1.png", "picture": "pictures/m1.jpg",
		"width": 320.0, "height": 320.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	file, err := os.Open(filepath.Join(s.folder, "pictures/m1.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	small, err := jpeg.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []image.Point{{8, 8}, {160, 160}, {311, 311}} {
		if r, _, b, _ := small.At(at.X, at.Y).RGBA(); r>>8 < 230 || b>>8 > 40 {
			t.Errorf("at %v it is %v, not the red of the middle", at, small.At(at.X, at.Y))
		}
	}
}

// largest: the largest photographs of the most wasteful kinds do with the memory there is.
func largest(t *testing.T, s *sequence) {
	s.put(t, "deep", func(file *bytes.Buffer) error {
		encoder := png.Encoder{CompressionLevel: png.BestSpeed}
		return encoder.Encode(file, image.NewNRGBA64(image.Rect(0, 0, 4096, 4096)))
	})
	got := s.run(t, map[string]any{"id": "m2", "photograph": "deep"})
	if got["picture"] != "pictures/m2.jpg" {
		t.Errorf("answered %v", got)
	}
}

// refused: a photograph that is refused passes both functions and ends as an answer.
func refused(t *testing.T, s *sequence) {
	s.put(t, "large", func(file *bytes.Buffer) error { return png.Encode(file, image.NewGray(image.Rect(0, 0, 16001, 1100))) })
	got := s.run(t, map[string]any{"id": "m3", "photograph": "large"})
	want := map[string]any{
		"id": "m3", "photograph": "large",
		"refused": "the photograph has 16001 by 1100 pixels; " +
			"16 million are the most, and 16384 a side",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if picture.MaxPixels >= 16001*1100 {
		t.Error("the photograph of this test is not too large")
	}
	if entries, err := os.ReadDir(s.folder); err != nil || len(entries) != 1 {
		t.Errorf("beside the photograph there are %v, %v", entries, err)
	}
}
