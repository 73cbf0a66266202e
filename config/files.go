package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// setDirectory makes relative paths relative to the folder of the file.
func (c *Config) setDirectory(dir string) {
	walkFiles(reflect.ValueOf(c).Elem(), "", func(_ string, file reflect.Value) {
		if path := file.String(); path != "" && !filepath.IsAbs(path) {
			file.SetString(filepath.Join(dir, path))
		}
	})
}

// checkFiles reports files that cannot be read.
func (d *decoder) checkFiles() {
	walkFiles(reflect.ValueOf(d.config).Elem(), "", func(field string, file reflect.Value) {
		path := file.String()
		if path == "" {
			return
		}
		f, err := os.Open(path)
		if err != nil {
			d.failAt(field, "a path that begins at the folder of this file, or with /", "%v", err)
			return
		}
		if err := f.Close(); err != nil {
			d.failAt(field, "", "%v", err)
		}
	})
}

// walkFiles calls visit for each field that names a file: kubeconfig, those that end in _file,
// and the files of an HTTP header.
func walkFiles(v reflect.Value, path string, visit func(field string, file reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walkFiles(v.Elem(), path, visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walkFiles(v.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			walkFiles(v.MapIndex(key), fieldPath(path, key.String()), visit)
		}
	case reflect.Struct:
		fields, rest := fieldsOf(v)
		if rest.IsValid() {
			walkFiles(rest, path, visit)
		}
		for _, f := range fields {
			field := fieldPath(path, f.name)
			switch {
			case f.name == "kubeconfig", strings.HasSuffix(f.name, "_file"):
				visit(field, f.value)
			case f.name == "files": // Of an HTTP header.
				for i := range f.value.Len() {
					visit(fmt.Sprintf("%s[%d]", field, i), f.value.Index(i))
				}
			default:
				walkFiles(f.value, field, visit)
			}
		}
	}
}
