package services

import (
	"embed"
	"io/fs"
)

// ReadSchemas returns the schemas in a backend's folder "schemas":
// instance-create.json, binding-create.json, and instance-update.json if an instance
// can be updated. A missing file is an error of the program.
func ReadSchemas(folder embed.FS) Schemas {
	read := func(name string) []byte {
		text, err := folder.ReadFile("schemas/" + name)
		if err != nil {
			panic(err)
		}
		return text
	}
	s := Schemas{InstanceCreate: read("instance-create.json"), BindingCreate: read("binding-create.json")}
	if _, err := fs.Stat(folder, "schemas/instance-update.json"); err == nil {
		s.InstanceUpdate = read("instance-update.json")
	}
	return s
}
