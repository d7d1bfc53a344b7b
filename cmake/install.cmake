# The library as it is installed, and packages of it all.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(public_symbols "green_*" "luaopen_greenlua")

# --- libgreenlua.so -----------------------------------------------------------

list(JOIN public_symbols "; " exported)
file(WRITE ${PROJECT_BINARY_DIR}/library.map
  "GREENLUA_${PROJECT_VERSION_MAJOR} { global: ${exported}; local: *; };\n")
add_library(greenlua_shared SHARED
  $<TARGET_OBJECTS:host_objects> $<TARGET_OBJECTS:binding_objects>)
set_target_properties(greenlua_shared PROPERTIES
  OUTPUT_NAME greenlua
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib # greenlua.so is the module
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${PROJECT_BINARY_DIR}/library.map)
target_link_libraries(greenlua_shared PRIVATE greenlua_needs PkgConfig::LUA)
target_link_options(greenlua_shared PRIVATE -Wl,--as-needed
  -Wl,--exclude-libs,ALL -Wl,--version-script=${PROJECT_BINARY_DIR}/library.map)

# --- libgreenlua.a ------------------------------------------------------------

# One object, whose other symbols nobody meets.  What it needs of Boost.Context,
# which hosts rarely have as an archive, is in it.
list(TRANSFORM public_symbols PREPEND "--keep-global-symbol="
  OUTPUT_VARIABLE keep)
set(whole ${PROJECT_BINARY_DIR}/lib/greenlua.o)
set(archive ${PROJECT_BINARY_DIR}/lib/libgreenlua.a)
set(context_archive)
if(context STREQUAL "boost")
  set(context_archive ${BOOST_CONTEXT_ARCHIVE})
endif()
add_custom_command(
  OUTPUT ${archive}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/lib
  COMMAND ${CMAKE_LINKER} -r -o ${whole} $<TARGET_OBJECTS:host_objects>
          $<TARGET_OBJECTS:binding_objects> ${context_archive}
  COMMAND ${CMAKE_OBJCOPY} --wildcard ${keep} ${whole}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${archive}
  COMMAND ${CMAKE_AR} qcs ${archive} ${whole}
  COMMAND ${CMAKE_COMMAND} -E rm ${whole}
  DEPENDS host_objects binding_objects $<TARGET_OBJECTS:host_objects>
          $<TARGET_OBJECTS:binding_objects>
  COMMENT "Linking libgreenlua.a into one object"
  VERBATIM COMMAND_EXPAND_LISTS)
add_custom_target(greenlua_archive ALL DEPENDS ${archive})

# --- for the build systems of others -----------------------------------------

# wslay is loaded when it is first used, OpenSSL too where bindings/ssl/openssl.c
# knows how.
set(PRIVATE_PACKAGES libcares zlib)
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|aarch64|AMD64|arm64)$")
  list(APPEND PRIVATE_PACKAGES openssl)
endif()

list(JOIN PRIVATE_PACKAGES ", " REQUIRES_PRIVATE)
file(RELATIVE_PATH UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/greenlua.pc.in greenlua.pc @ONLY)

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/greenlua)
configure_package_config_file(cmake/greenlua-config.cmake.in
  greenlua-config.cmake INSTALL_DESTINATION ${config_dir}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/greenlua-config-version.cmake
  COMPATIBILITY SameMinorVersion)

# --- where it goes ------------------------------------------------------------

install(TARGETS greenlua_shared)
install(FILES ${archive} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES host/greenlua.h TYPE INCLUDE)
install(FILES ${PROJECT_BINARY_DIR}/greenlua.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_BINARY_DIR}/greenlua-config.cmake
              ${PROJECT_BINARY_DIR}/greenlua-config-version.cmake
  DESTINATION ${config_dir})
install(FILES doc/greenlua.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES LICENSE README.md TYPE DOC)

# --- cpack -G DEB -------------------------------------------------------------

set(CPACK_PACKAGE_VENDOR "greenlua authors")
set(CPACK_PACKAGE_CONTACT "greenlua authors <authors@greenlua.invalid>")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_GENERATOR DEB)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/debian.cmake)
file(WRITE ${PROJECT_BINARY_DIR}/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/triggers)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION interpreters)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
  "The command greenlua, a module for lua5.4, and the library libgreenlua.")
# Loaded when they are first used, so that no linker tells of them.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libssl3, libwslay1")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "liblua5.4-dev, libev-dev, libc-ares-dev")
include(CPack)
