package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
)

type item struct {
	ID          int      `json:"id"`
	Name        string   `json:"name"`
	Price       float64  `json:"price"`
	Stock       int      `json:"stock"`
	Available   bool     `json:"available"`
	Tags        []string `json:"tags"`
	Description string   `json:"description"`
}

func main() {
	var list []item
	for i := 1; i <= 56; i++ {
		list = append(list, item{i, fmt.Sprint("Item number ", i), float64(i) * 1.25, i * 7 % 100, i%2 == 0,
			[]string{"red", "green", "blue"},
			"A thing that one might want to have, if one had the room for it"})
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := json.Marshal(list)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
