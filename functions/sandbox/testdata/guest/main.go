// Command guest is an action that does what its parameter "do" says; compiled
// for wasip1 by the tests.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

type parameters struct {
	Do    string         `json:"do"`
	Path  string         `json:"path"`
	To    string         `json:"to"`
	Text  string         `json:"text"`
	Count int            `json:"count"`
	Bytes int            `json:"bytes"`
	Value map[string]any `json:"value"`
}

func main() {
	var p parameters
	input, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(input, &p)
	}
	check(err)
	if p.Value == nil {
		p.Value = map[string]any{}
	}
	act, found := acts[p.Do]
	if !found {
		fail(fmt.Errorf("no such act: %q", p.Do))
	}
	act(p)
}

func answer(value any) {
	content, err := json.Marshal(value)
	check(err)
	fmt.Println(string(content))
}

func fail(err error) {
	answer(map[string]string{"error": err.Error()})
	os.Exit(0)
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

// result answers with err's text, or an empty one.
func result(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	answer(map[string]string{"result": text})
}

var sink [][]byte

var acts = map[string]func(parameters){
	"echo":  func(p parameters) { answer(p.Value) },
	"env":   func(parameters) { answer(map[string]any{"env": os.Environ(), "args": os.Args}) },
	"print": func(p parameters) { fmt.Print(p.Text) },
	"error": func(p parameters) { fail(errors.New(p.Text)) },
	"panic": func(p parameters) { panic(p.Text) },
	"exit":  func(p parameters) { fmt.Print(p.Text); os.Exit(p.Count) },
	"loop": func(parameters) {
		for n := 0; ; n++ {
			sinkNumber += n
		}
	},
	"sleep": func(p parameters) {
		time.Sleep(time.Duration(p.Count) * time.Millisecond)
		answer(map[string]int{"slept": p.Count})
	},
	"select": func(parameters) { select {} },
	"now":    func(parameters) { answer(map[string]int64{"now": time.Now().UnixNano()}) },
	"allocate": func(p parameters) {
		for {
			block := make([]byte, 1<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			sink = append(sink, block)
			if p.Bytes > 0 && len(sink)<<20 >= p.Bytes {
				break
			}
		}
		time.Sleep(time.Duration(p.Count) * time.Millisecond)
		answer(map[string]int{"blocks": len(sink)})
	},
	"fill": func(p parameters) {
		block := make([]byte, 64<<20)
		for {
			copy(block[1:], block)
		}
	},
	"recurse": func(p parameters) { answer(map[string]int{"depth": recurse(0)}) },
	"log": func(p parameters) {
		for range p.Count {
			fmt.Fprintln(os.Stderr, p.Text)
		}
		answer(map[string]bool{"logged": true})
	},
	"flood": func(p parameters) {
		out := map[string]*os.File{"stdout": os.Stdout, "stderr": os.Stderr}[p.To]
		for {
			out.WriteString(p.Text)
		}
	},
	"long": func(p parameters) { answer(map[string]string{"long": strings.Repeat("x", p.Bytes)}) },
	"read": func(p parameters) {
		content, err := os.ReadFile(p.Path)
		check(err)
		answer(map[string]string{"content": string(content)})
	},
	"write": func(p parameters) { result(os.WriteFile(p.Path, []byte(p.Text), 0o644)) },
	"append": func(p parameters) {
		file, err := os.OpenFile(p.Path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
		if err == nil {
			_, err = file.WriteString(p.Text)
			err = errors.Join(err, file.Close())
		}
		result(err)
	},
	"list": func(p parameters) {
		var names []string
		err := filepath.WalkDir(p.Path, func(path string, _ fs.DirEntry, err error) error {
			names = append(names, path)
			return err
		})
		check(err)
		answer(map[string]any{"names": names})
	},
	"mkdir":    func(p parameters) { result(os.MkdirAll(p.Path, 0o755)) },
	"remove":   func(p parameters) { result(os.RemoveAll(p.Path)) },
	"rename":   func(p parameters) { result(os.Rename(p.Path, p.To)) },
	"link":     func(p parameters) { result(os.Link(p.Path, p.To)) },
	"symlink":  func(p parameters) { result(os.Symlink(p.Path, p.To)) },
	"truncate": func(p parameters) { result(os.Truncate(p.Path, int64(p.Count))) },
	"times":    func(p parameters) { result(os.Chtimes(p.Path, time.Unix(1, 0), time.Unix(2, 0))) },
	"stat": func(p parameters) {
		info, err := os.Stat(p.Path)
		check(err)
		answer(map[string]any{"size": info.Size(), "dir": info.IsDir(), "modified": info.ModTime().Unix()})
	},
	"seek": func(p parameters) {
		file, err := os.OpenFile(p.Path, os.O_RDWR, 0)
		check(err)
		defer file.Close()
		part := make([]byte, 3)
		_, err1 := file.Seek(2, io.SeekStart)
		_, err2 := io.ReadFull(file, part)
		_, err3 := file.WriteAt([]byte("!"), 1)
		_, err4 := file.ReadAt(part[:1], 1)
		check(errors.Join(err1, err2, err3, err4, file.Sync()))
		answer(map[string]string{"part": string(part)})
	},
	"openmany": func(p parameters) {
		var files []*os.File
		for i := range p.Count {
			file, err := os.OpenFile(filepath.Join(p.Path, fmt.Sprint(i)), os.O_CREATE|os.O_WRONLY, 0o644)
			if err != nil {
				answer(map[string]any{"open": len(files), "result": err.Error()})
				return
			}
			files = append(files, file)
		}
		answer(map[string]any{"open": len(files), "result": ""})
	},
}

var sinkNumber int

//go:noinline
func recurse(n int) int {
	var frame [64]int
	frame[n%64] = n
	return recurse(n+1) + frame[(n+1)%64]
}
