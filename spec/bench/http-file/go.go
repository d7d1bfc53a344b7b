package main

import (
	"net/http"
	"os"
)

func main() {
	http.Handle("/", http.FileServer(http.Dir(os.Getenv("TMP"))))
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
