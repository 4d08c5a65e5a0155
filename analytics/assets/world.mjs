// Natural Earth's countries in its own projection, cut at the antimeridian; prints GeoJSON in plane coordinates.
import fs from "fs";
import { geoNaturalEarth1 } from "d3-geo";
import { geoProject } from "d3-geo-projection";
import iso from "i18n-iso-countries";
import { feature } from "topojson-client";

const topology = JSON.parse(fs.readFileSync("node_modules/world-atlas/countries-110m.json"));
const projection = geoNaturalEarth1().scale(180).translate([0, 0]);
const round = (point) => (Array.isArray(point[0]) ? point.map(round) : [Math.round(point[0] * 10) / 10, Math.round(-point[1] * 10) / 10]);
const features = feature(topology, topology.objects.countries).features
  .filter((country) => country.properties.name !== "Antarctica")
  .map((country) => {
    const { type, coordinates } = geoProject(country.geometry, projection);
    const name = iso.numericToAlpha2(country.id) || country.properties.name;
    return { type: "Feature", properties: { name, label: country.properties.name }, geometry: { type, coordinates: round(coordinates) } };
  });
console.log(JSON.stringify({ type: "FeatureCollection", features }));
