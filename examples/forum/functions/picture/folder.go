package picture

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"image"
	_ "image/gif"  // a format that visitors send
	_ "image/jpeg" // a format that visitors send
	_ "image/png"  // a format that visitors send
	"io"
	"io/fs"
	"os"
	"path"
)

// What a photograph may be at most. Decoded, the most wasteful format that the
// decoders know (progressive JPEG, PNG of 16 bits a channel) takes about 8 bytes
// a pixel, so that a function does with 256 MB.
const (
	MaxBytes  = 10 << 20
	MaxPixels = 16 << 20
	maxSide   = 16 << 10
)

// Folder is the folder in which the images are. Names lead nowhere outside.
type Folder struct{ root *os.Root }

// OpenFolder opens a folder of this machine.
func OpenFolder(name string) (*Folder, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open the folder of photographs: %w", err)
	}
	return &Folder{root}, nil
}

// Close gives the folder back.
func (f *Folder) Close() error { return f.root.Close() }

// Image decodes a file that nobody has looked at: its size and its dimensions are
// checked before any of its pixels. turned is for Upright. The error is a Refusal
// where the file is to blame.
func (f *Folder) Image(name string) (decoded image.Image, turned int, err error) {
	content, err := f.read(name)
	if err != nil {
		return nil, 0, err
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(content))
	if err != nil {
		return nil, 0, refuse("this is no photograph in JPEG, PNG or GIF: %s", err)
	}
	if err := bounded(config.Width, config.Height); err != nil {
		return nil, 0, err
	}
	decoded, _, err = image.Decode(bytes.NewReader(content))
	if err != nil {
		return nil, 0, refuse("the photograph is damaged: %s", err)
	}
	return decoded, orientation(content), nil
}

func (f *Folder) read(name string) ([]byte, error) {
	file, err := f.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the photograph: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the photograph: %w", err)
	}
	if len(content) > MaxBytes {
		return nil, refuse("the photograph's file is larger than %d MB", MaxBytes>>20)
	}
	return content, nil
}

func bounded(width, height int) error {
	switch {
	case width < 1 || height < 1:
		return refuse("the photograph has no pixels")
	case width > maxSide || height > maxSide || width*height > MaxPixels:
		return refuse("the photograph has %d by %d pixels; %d million are the most, and %d a side",
			width, height, MaxPixels/1_000_000, maxSide)
	}
	return nil
}

// Write writes a file, with the folders it needs. Who reads the name meanwhile
// sees what was there before or all of the new content.
func (f *Folder) Write(name string, content []byte) error {
	if err := f.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", name, err)
	}
	// Two activations may work on the same photograph.
	temporary := fmt.Sprintf("%s.%s.part", name, rand.Text())
	err := f.root.WriteFile(temporary, content, 0o644)
	if err == nil {
		err = f.root.Rename(temporary, name)
	}
	if err != nil {
		if gone := f.root.Remove(temporary); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
